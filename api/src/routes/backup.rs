//! A backup of everything, while the server goes on.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use callsheet_storage::maintenance::BackupOptions;
use futures::StreamExt;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::Refusal;
use crate::extract::CheckedQuery;
use crate::state::AppState;

/// Backs up all jobs and their files
///
/// A stream in a format of its own, which `callsheet restore` reads. What breaks off before its end
/// is known by that.
#[utoipa::path(
    get,
    path = "/v1/backup",
    tag = "server",
    params(BackupQuery),
    responses(
        (status = 200, description = "The backup", content_type = "application/octet-stream"),
        (status = 400, description = "`request.query`"),
        (status = 503, description = "`store.failed`, `engine.failed`, `backup.busy`"),
    ),
)]
pub(crate) async fn backup(
    State(state): State<AppState>,
    CheckedQuery(query): CheckedQuery<BackupQuery>,
) -> Result<Response, Refusal> {
    state.engine.health()?;
    // A backup reads all that there is: two at once would only take longer.
    let place = state.backups.clone().try_acquire_owned().map_err(|_| Refusal::Backup)?;
    let artifacts = query.artifacts.unwrap_or(true);
    let options = BackupOptions { artifacts, progress: Arc::new(|_, _, _| {}) };
    let chunks = state.engine.backup(options).map(move |chunk| {
        let _held = &place;
        chunk.map_err(|error| {
            tracing::error!(%error, "the backup broke off");
            io::Error::other("the backup broke off")
        })
    });
    // A server that stops does not wait for a backup; its reader sees that the end is missing.
    let chunks = chunks.take_until(state.closing.clone().cancelled_owned());
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"callsheet.backup\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((fields, Body::from_stream(chunks)).into_response())
}

/// What to back up.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BackupQuery {
    /// The files that jobs name, too; so unless it is `false`.
    artifacts: Option<bool>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_actors::Engine;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::error::HttpError;
    use crate::options::ApiOptions;

    #[tokio::test]
    async fn backups_are_made_one_at_a_time() {
        let engine = Engine::builder().in_memory().open().await.unwrap();
        let state = AppState::new(engine, &ApiOptions::default(), CancellationToken::new());
        let ask = || backup(State(state.clone()), CheckedQuery(BackupQuery::default()));
        let first = ask().await.unwrap();
        assert_eq!(ask().await.unwrap_err().code(), "backup.busy");
        drop(first);
        assert!(ask().await.is_ok(), "the place is free again");
    }
}
