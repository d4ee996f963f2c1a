//! What handlers read from a request, each refused as a problem when it is not right.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use callsheet_engine::JobId;
use callsheet_engine::definition::nearest;
use callsheet_storage::Digest;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use crate::error::Refusal;
use crate::limits::BODY_READ_SECONDS;

/// A body of JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A body of JSON that may be left out.
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

/// A body of text: YAML or JSON.
pub(crate) struct TextBody(pub(crate) String);

/// The query, every field of it known.
pub(crate) struct CheckedQuery<T>(pub(crate) T);

/// A job's id in the path.
pub(crate) struct JobPath(pub(crate) JobId);

/// A job's id and the id of a step in the path.
pub(crate) struct StepPath(pub(crate) JobId, pub(crate) String);

/// An artifact's digest in the path.
pub(crate) struct DigestPath(pub(crate) Digest);

/// A name in the path.
pub(crate) struct NamePath(pub(crate) String);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        want_media_type(request.headers(), "application/json", is_json)?;
        let bytes = read_body(request, state).await?;
        parse_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let headers = request.headers().clone();
        let bytes = read_body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        want_media_type(&headers, "application/json", is_json)?;
        parse_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for TextBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        want_media_type(request.headers(), "application/yaml", is_text)?;
        let bytes = read_body(request, state).await?;
        String::from_utf8(bytes.into()).map(Self).map_err(|_| Refusal::Body)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for CheckedQuery<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => {
                let text = error.body_text();
                let what = text.rsplit_once("query string: ").map_or(&*text, |(_, why)| why);
                let hint = hint_for(what);
                Err(Refusal::Query { what: format!("the query is not valid: {what}"), hint })
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        job_id(&path_text(parts, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for StepPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((job, step)) = path.map_err(|_| not_text())?;
        Ok(Self(job_id(&job)?, step))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DigestPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let text = path_text(parts, state).await?;
        text.parse().map(Self).map_err(|_| Refusal::Path {
            what: format!("`{text}` is not a digest"),
            hint: "a digest is 64 hexadecimal digits in lower case",
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        path_text(parts, state).await.map(Self)
    }
}

/// The job of an id in its one spelling; `Uuid` alone would also take braces and capitals.
pub(crate) fn parse_job_id(text: &str) -> Option<JobId> {
    let id: JobId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

async fn path_text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Refusal> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text).map_err(|_| not_text())
}

fn not_text() -> Refusal {
    Refusal::Path {
        what: "the path is not UTF-8 text".to_owned(),
        hint: "percent-encode the path as UTF-8",
    }
}

fn job_id(text: &str) -> Result<JobId, Refusal> {
    parse_job_id(text).ok_or_else(|| Refusal::Path {
        what: format!("`{text}` is not the id of a job"),
        hint: "an id is like `0190c5a8-7c3e-7abc-8def-0123456789ab`",
    })
}

/// The whole body, within its limits of size and time.
async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    let reading = Bytes::from_request(request, state);
    match timeout(Duration::from_secs(BODY_READ_SECONDS), reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::Body),
        Err(_) => Err(Refusal::SlowBody),
    }
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let is_list = bytes.trim_ascii_start().first() == Some(&b'[');
    if is_list && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        // Serde would take the items for fields by their place, which no one could mean.
        let what = "the body is a list, not an object".to_owned();
        return Err(Refusal::Field { what, hint: hint_for("") });
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let what = objects(&error.to_string());
        if error.is_data() {
            let hint = hint_for(&what);
            Refusal::Field { what: format!("the body is not what the route takes: {what}"), hint }
        } else {
            Refusal::Json(what)
        }
    })
}

/// The words of serde without the names of our types, which mean nothing to a client.
fn objects(what: &str) -> String {
    let mut parts = what.split("expected struct ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        text.push_str("expected an object");
        text.push_str(rest);
    }
    text
}

/// Advice on an unknown field or value: the known one that is most like it, or all there are.
fn hint_for(what: &str) -> Option<String> {
    let named = what.split_once("unknown field ").or_else(|| what.split_once("unknown variant "));
    let mut names = named.map_or("", |(_, rest)| rest).split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    Some(match nearest(unknown, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "what the route takes is in `/openapi.json`".to_owned(),
        None => format!("it may be `{}`", known.join("`, `")),
    })
}

fn want_media_type(
    headers: &HeaderMap,
    taken: &'static str,
    fits: fn(&str) -> bool,
) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = given.map(|value| value.split(';').next().unwrap_or_default().trim());
    match essence {
        Some(essence) if fits(&essence.to_ascii_lowercase()) => Ok(()),
        _ => {
            let given = given.unwrap_or("none").to_owned();
            Err(Refusal::MediaType { given, taken })
        }
    }
}

fn is_json(essence: &str) -> bool {
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn is_text(essence: &str) -> bool {
    let yaml = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain"];
    is_json(essence) || yaml.contains(&essence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::error::HttpError;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let request = Request::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from_stream(never))
            .unwrap();
        let refused = JsonBody::<String>::from_request(request, &()).await.err().unwrap();
        assert_eq!(refused.code(), "request.slow");
    }

    #[test]
    fn unknown_fields_get_the_nearest_known_one() {
        for (what, hint) in [
            (
                "unknown field `inptu`, expected one of `workflow`, `input`",
                Some("did you mean `input`?"),
            ),
            ("unknown field `zzzzzzzz`, expected `reason`", Some("it may be `reason`")),
            ("status: unknown variant `faild`, expected `failed`", Some("did you mean `failed`?")),
            (
                "invalid type: integer `1`, expected a string",
                Some("what the route takes is in `/openapi.json`"),
            ),
        ] {
            assert_eq!(hint_for(what).as_deref(), hint, "{what}");
        }
    }

    #[test]
    fn text_in_place_of_an_object_is_told_without_the_names_of_types() {
        #[derive(Debug, serde::Deserialize)]
        struct Inner {}
        #[derive(Debug, serde::Deserialize)]
        struct Outer {
            #[allow(dead_code)] // only its reading is looked at
            inner: Inner,
        }
        let Err(Refusal::Field { what, .. }) = parse_json::<Outer>(br#"{"inner":"x"}"#) else {
            panic!("text was taken for an object");
        };
        let end = r#"invalid type: string "x", expected an object at line 1 column 12"#;
        assert!(what.ends_with(end), "{what}");
    }

    #[test]
    fn a_job_id_has_one_spelling() {
        let plain = "0190c5a8-7c3e-7abc-8def-0123456789ab";
        assert!(parse_job_id(plain).is_some());
        let (upper, braced) = (plain.to_uppercase(), format!("{{{plain}}}"));
        for other in [&upper, &braced, "", "1", &plain.replace('-', "")] {
            assert!(parse_job_id(other).is_none(), "{other}");
        }
    }

    #[test]
    fn media_types_are_told_apart() {
        for (given, json, text) in [
            ("application/json", true, true),
            ("application/vnd.x+json", true, true),
            ("application/yaml", false, true),
            ("text/plain", false, true),
            ("text/html", false, false),
            ("multipart/form-data", false, false),
            ("application/x-www-form-urlencoded", false, false),
        ] {
            assert_eq!((is_json(given), is_text(given)), (json, text), "{given}");
        }
    }
}
