//! Gives an engine the step kinds and the shipped workflows.

use std::sync::Arc;

use callsheet_actors::EngineBuilder;

use crate::fetch::Fetch;
use crate::ffmpeg::{Burn, ContactSheet, Convert, Hardware, MixMusic, Mux, Thumbnail};
use crate::media::{Analyze, ExtractAudio, Probe, Verify};
use crate::options::MediaOptions;
use crate::scenes::{
    ChainCaptions, EncodePicture, JoinScenes, MeasureScene, MixSound, PairScenes, PlanScenes,
    ScoreFilm,
};
use crate::slots::Slots;
use crate::speech::{
    ChooseSpeech, CutSpeech, JoinSpeech, Means, Recognise, Transcribe, TranscribeOffline,
};
use crate::subtitles::{CheckCaptions, Compose};
use crate::webhook::{Deliver, WEBHOOK};

/// The workflow `caption`: transcribe a video and burn the captions in.
pub const CAPTION: &str = include_str!("../definitions/caption.yaml");

/// The workflow `background-music`: lay music under a video.
pub const BACKGROUND_MUSIC: &str = include_str!("../definitions/background-music.yaml");

/// The workflow `merge`: make a film of scenes and their voice-overs.
pub const MERGE: &str = include_str!("../definitions/merge.yaml");

/// The workflow `compose`: make a film of scenes, voice-overs, captions and music in one encode.
pub const COMPOSE: &str = include_str!("../definitions/compose.yaml");

/// The workflow `convert`: another container, coding, quality, size or length.
pub const CONVERT: &str = include_str!("../definitions/convert.yaml");

/// The workflow `thumbnail`: take one picture out of a film.
pub const THUMBNAIL: &str = include_str!("../definitions/thumbnail.yaml");

/// The workflow `contact-sheet`: lay pictures from all over a film side by side.
pub const CONTACT_SHEET: &str = include_str!("../definitions/contact-sheet.yaml");

/// The workflow `analyze`: how loud a file is, where it is silent, where its scenes change.
pub const ANALYZE: &str = include_str!("../definitions/analyze.yaml");

/// The workflow `batch`: run a list of workflows side by side.
pub const BATCH: &str = include_str!("../definitions/batch.yaml");

/// Registers all step kinds and the shipped workflows.
pub fn register(builder: EngineBuilder, options: &MediaOptions) -> EngineBuilder {
    let shipped = [
        CAPTION,
        BACKGROUND_MUSIC,
        MERGE,
        COMPOSE,
        CONVERT,
        THUMBNAIL,
        CONTACT_SHEET,
        ANALYZE,
        BATCH,
        WEBHOOK,
    ];
    shipped.into_iter().fold(step_kinds(builder, options), EngineBuilder::workflow)
}

/// Registers the step kinds alone, for workflows of one's own.
pub fn step_kinds(builder: EngineBuilder, options: &MediaOptions) -> EngineBuilder {
    let slots = Slots::new(options.parallel_runs);
    // Sound is light work: it need not wait until the pictures leave it a processor.
    let sounds = Slots::new(options.parallel_runs);
    let hardware = Hardware::default();
    let means = Arc::new(Means::new(options, &slots));
    builder
        .provide(options.sandbox)
        .step(Fetch::new(options))
        .step(Probe)
        .step(ExtractAudio::new(sounds.clone()))
        .step(Transcribe::new(means.clone()))
        .step(TranscribeOffline::new(means.clone()))
        .step(ChooseSpeech::new(options))
        .step(CutSpeech)
        .step(Recognise::new(means))
        .step(JoinSpeech)
        .step(CheckCaptions)
        .step(Compose)
        .step(Burn::new(slots.clone()))
        .step(Mux::new(slots.clone()))
        .step(MixMusic::new(slots.clone()))
        .step(PairScenes)
        .step(MeasureScene::new(slots.clone()))
        .step(PlanScenes)
        .step(EncodePicture::new(slots.clone()))
        .step(MixSound::new(sounds.clone()))
        .step(ScoreFilm::new(sounds.clone()))
        .step(ChainCaptions)
        .step(JoinScenes::new(sounds))
        .step(Convert::new(slots.clone(), hardware))
        .step(Thumbnail::new(slots.clone()))
        .step(ContactSheet::new(slots.clone()))
        .step(Analyze::new(slots.clone()))
        .step(Verify::new(slots))
        .step(Deliver::new(options))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_actors::Engine;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_kind_explains_itself() {
        let options = MediaOptions { openai: None, ..MediaOptions::default() };
        let engine = register(Engine::builder().in_memory(), &options).open().await.unwrap();
        let kinds: Vec<_> = engine.catalog().iter().collect();
        assert!(kinds.len() > 10);
        for kind in kinds {
            assert!(kind.description.ends_with('.'), "{}", kind.name);
            let fields = kind.input_schema["properties"].as_object().unwrap();
            for (field, schema) in fields {
                let explained = schema.get("description").is_some();
                assert!(explained, "`{field}` of `{}` has no description", kind.name);
            }
            assert_eq!(kind.input_schema["additionalProperties"], false, "{}", kind.name);
        }
        assert_eq!(engine.workflow("caption").unwrap().workflow().steps.len(), 12);
        assert_eq!(engine.workflow("background-music").unwrap().workflow().steps.len(), 4);
        assert_eq!(engine.workflow("compose").unwrap().workflow().steps.len(), 18);
        assert_eq!(engine.workflow("merge").unwrap().workflow().steps.len(), 10);
    }

    /// A field of a shipped workflow, what it takes, and what is refused before any work.
    fn bounded() -> [(&'static str, &'static str, Value, Value); 4] {
        let sizes = json!([1, "5", "1kB", "100MiB", "2 GiB", "3gb", "7B"]);
        let no_sizes = json!(["lots", 0, -1, "1.5MiB", "5 ib", "", "MiB"]);
        let moments = json!([
            "best", 0, 1.5, "12.5", "2s", "00:00:03", "1:30.5", "90:00", "0%", "50%", "99.5 %",
            "100%",
        ]);
        let no_moments = json!(["150%", -3, "-3", "soon", "1:60", "1:2:3:4", "101%", ""]);
        let boxes = json!(["keep", 144, 2160, "720", "1080p", "1280x720"]);
        let no_boxes = json!([100, 2161, "100000", "large", "x720", "1280x", "72"]);
        [
            ("thumbnail", "at", moments, no_moments),
            ("thumbnail", "max_bytes", sizes.clone(), no_sizes.clone()),
            ("convert", "resolution", boxes, no_boxes),
            ("convert", "max_bytes", sizes, no_sizes),
        ]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_step_could_not_read_is_refused_with_the_input() {
        let options = MediaOptions { openai: None, ..MediaOptions::default() };
        let engine = register(Engine::builder().in_memory(), &options).open().await.unwrap();
        for (workflow, field, good, bad) in bounded() {
            let plan = engine.workflow(workflow).unwrap();
            let take = |value: &Value| plan.accept_input(json!({ "video": "v", field: value }));
            for value in good.as_array().unwrap() {
                assert!(take(value).is_ok(), "{workflow} `{field}`: {value}");
            }
            for value in bad.as_array().unwrap() {
                let refused = take(value).err().map(|all| all.0[0].path.clone());
                assert_eq!(refused, Some(format!("input.{field}")), "{workflow}: {value}");
            }
        }
        let sized = ["analyze", "background-music", "caption", "compose", "contact-sheet", "merge"];
        for workflow in sized {
            let plan = engine.workflow(workflow).unwrap();
            let field = &plan.workflow().input.as_ref().unwrap()["properties"]["max_bytes"];
            let known = engine.workflow("convert").unwrap();
            let expected = &known.workflow().input.as_ref().unwrap()["properties"]["max_bytes"];
            assert_eq!(field["pattern"], expected["pattern"], "{workflow}");
        }
    }
}
