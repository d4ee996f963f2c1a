//! The three kinds of task: their fields, and the workflow that each of them is.

use callsheet::{JobId, JobView};
use serde_json::{Value, json};

use super::answers::Detail;
use super::fields::Fields;

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Caption,
    Merge,
    BackgroundMusic,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Caption, Self::Merge, Self::BackgroundMusic];

    /// The last word of its route.
    pub(super) fn route(self) -> &'static str {
        match self {
            Self::Caption => "caption",
            Self::Merge => "merge",
            Self::BackgroundMusic => "background-music",
        }
    }

    pub(super) fn of_route(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.route() == word)
    }

    /// The workflow that it is.
    pub(super) fn workflow(self) -> &'static str {
        // They have the same names: the workflows were made in their place.
        self.route()
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Caption => "Caption",
            Self::Merge => "Merge",
            Self::BackgroundMusic => "Background music",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Caption => "_captioned.mp4",
            Self::Merge => "_merged.mp4",
            Self::BackgroundMusic => "_with_music.mp4",
        }
    }

    /// The name of a task's video.
    pub(super) fn file(self, id: JobId) -> String {
        format!("{id}{}", self.suffix())
    }

    /// The task that a video is of.
    pub(super) fn of_file(name: &str) -> Option<(JobId, Self)> {
        Self::ALL.into_iter().find_map(|kind| {
            let id: JobId = name.strip_suffix(kind.suffix())?.parse().ok()?;
            Some((id, kind))
        })
    }

    pub(super) fn is_of(self, view: &JobView) -> bool {
        view.head.workflow.name == self.workflow()
    }

    pub(super) fn of(view: &JobView) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.is_of(view))
    }

    /// The input of the workflow, from a request's body with the original's fields, defaults and
    /// bounds.
    ///
    /// # Errors
    /// Everything that is wrong with the body.
    pub(super) fn input(self, body: &[u8]) -> Result<Value, Detail> {
        let mut fields = Fields::read(body)?;
        let input = match self {
            Self::Caption => {
                // The recogniser has one size for each provider.
                fields.text("model_size", "small");
                json!({ "video": fields.url("video_url"), "language": "en" })
            }
            Self::Merge => merge(&mut fields),
            Self::BackgroundMusic => json!({
                "video": fields.url("video_url"),
                "music": fields.url("music_url"),
                "music_volume": fields.number("music_volume", 0.3, 1.0),
                "video_volume": fields.number("video_volume", 1.0, 1.0),
            }),
        };
        fields.close()?;
        match self {
            Self::Merge => check_counts(&input).map(|()| input),
            Self::Caption | Self::BackgroundMusic => Ok(input),
        }
    }
}

fn merge(fields: &mut Fields) -> Value {
    // H.264 wants even numbers; an odd one made the original fail late.
    let mut side = |name, default| fields.whole(name, default, 480, 3_840) / 2 * 2;
    let (width, height) = (side("width", 1_080), side("height", 1_920));
    json!({
        "scenes": fields.urls("scene_clip_urls"),
        "voices": fields.urls("voiceover_urls"),
        "width": width,
        "height": height,
        "video_volume": fields.number("video_volume", 0.2, 1.0),
        "voiceover_volume": fields.number("voiceover_volume", 2.0, 10.0),
    })
}

fn check_counts(input: &Value) -> Result<(), Detail> {
    let count = |name: &str| input[name].as_array().map_or(0, Vec::len);
    let (scenes, voices) = (count("scenes"), count("voices"));
    if scenes == voices {
        return Ok(());
    }
    Err(Detail::bad_request(format!(
        "Number of scene clips ({scenes}) must match number of voiceovers ({voices})"
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn input(kind: Kind, body: &Value) -> Result<Value, (u16, Value)> {
        kind.input(body.to_string().as_bytes()).map_err(Detail::into_parts)
    }

    #[test]
    fn requests_of_the_original_are_inputs_of_workflows() {
        let (a, b) = ("https://example.com/a.mp4", "https://example.com/b.mp3");
        for (kind, body, expected) in [
            (
                Kind::Caption,
                json!({ "video_url": a, "model_size": "large", "unknown": 1 }),
                json!({ "video": a, "language": "en" }),
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a, a], "voiceover_urls": [b, b] }),
                json!({ "scenes": [a, a], "voices": [b, b], "width": 1080, "height": 1920,
                    "video_volume": 0.2, "voiceover_volume": 2.0 }),
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a], "voiceover_urls": [b], "width": 481,
                    "height": 3840, "video_volume": 0, "voiceover_volume": 10 }),
                json!({ "scenes": [a], "voices": [b], "width": 480, "height": 3840,
                    "video_volume": 0.0, "voiceover_volume": 10.0 }),
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a], "voiceover_urls": [b], "width": 720.0,
                    "height": " 1280 ", "video_volume": "0.5" }),
                json!({ "scenes": [a], "voices": [b], "width": 720, "height": 1280,
                    "video_volume": 0.5, "voiceover_volume": 2.0 }),
            ),
            (
                Kind::BackgroundMusic,
                json!({ "video_url": a, "music_url": b, "music_volume": 0.5 }),
                json!({ "video": a, "music": b, "music_volume": 0.5, "video_volume": 1.0 }),
            ),
        ] {
            assert_eq!(input(kind, &body), Ok(expected), "{kind:?}");
        }
    }

    #[test]
    fn what_the_original_refused_is_refused() {
        let a = "https://example.com/a.mp4";
        for (kind, body, status, words) in [
            (Kind::Caption, json!({}), 422, r#"["body","video_url"]"#),
            (Kind::Caption, json!([]), 422, r#"["body"]"#),
            (Kind::Caption, json!({ "video_url": "/etc/passwd" }), 422, "url_parsing"),
            (Kind::Caption, json!({ "video_url": "ftp://h/a" }), 422, "url_scheme"),
            (Kind::Caption, json!({ "video_url": a, "model_size": 3 }), 422, "string_type"),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a, a], "voiceover_urls": [a] }),
                400,
                "Number of scene clips (2) must match number of voiceovers (1)",
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [], "voiceover_urls": [a] }),
                422,
                "too_short",
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a, "x"], "voiceover_urls": [a, a] }),
                422,
                r#"["body","scene_clip_urls",1]"#,
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a], "voiceover_urls": [a], "width": 479 }),
                422,
                "greater_than_equal",
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a], "voiceover_urls": [a], "width": 720.5 }),
                422,
                "int_type",
            ),
            (
                Kind::Merge,
                json!({ "scene_clip_urls": [a], "voiceover_urls": [a], "width": "wide" }),
                422,
                "int_type",
            ),
            (
                Kind::BackgroundMusic,
                json!({ "video_url": a, "music_url": a, "music_volume": 1.5 }),
                422,
                "less_than_equal",
            ),
        ] {
            let (found, detail) = input(kind, &body).unwrap_err();
            assert_eq!(found, status, "{body}");
            assert!(detail.to_string().contains(words), "{detail}");
        }
        assert_eq!(Kind::Caption.input(b"{").unwrap_err().into_parts().0, 422);
    }

    #[test]
    fn a_video_has_the_name_of_its_task_and_nothing_else_does() {
        let id: JobId = "0190c5a8-7c3e-7abc-8def-0123456789ab".parse().unwrap();
        for kind in Kind::ALL {
            assert_eq!(Kind::of_file(&kind.file(id)), Some((id, kind)));
        }
        for name in ["", "x_merged.mp4", "../_merged.mp4", &format!("{id}.mp4"), "_captioned.mp4"] {
            assert_eq!(Kind::of_file(name), None, "{name}");
        }
    }
}
