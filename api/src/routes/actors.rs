//! The actors of the engine.

use axum::Json;
use axum::extract::State;

use crate::state::AppState;
use crate::wire::ActorList;

/// All actors that live now
#[utoipa::path(
    get,
    path = "/v1/actors",
    tag = "server",
    responses(
        (status = 200, description = "The actors, oldest first", body = ActorList),
    ),
)]
pub(crate) async fn list(State(state): State<AppState>) -> Json<ActorList> {
    let actors = state.engine.actors().into_iter().map(Into::into).collect();
    Json(ActorList { actors })
}
