//! Gives an engine the step kinds and the shipped workflows.

use callsheet_actors::EngineBuilder;

use crate::fetch::Fetch;
use crate::ffmpeg::Burn;
use crate::media::{ExtractAudio, Probe, Verify};
use crate::options::MediaOptions;
use crate::slots::Slots;
use crate::speech::{Transcribe, TranscribeOffline};
use crate::subtitles::Compose;

/// The workflow `caption`: transcribe a video and burn the captions in.
pub const CAPTION: &str = include_str!("../definitions/caption.yaml");

/// Registers all step kinds and the shipped workflows.
#[must_use]
pub fn register(builder: EngineBuilder, options: &MediaOptions) -> EngineBuilder {
    step_kinds(builder, options).workflow(CAPTION)
}

/// Registers the step kinds alone, for workflows of one's own.
#[must_use]
pub fn step_kinds(builder: EngineBuilder, options: &MediaOptions) -> EngineBuilder {
    let slots = Slots::new(options.parallel_runs);
    builder
        .step(Fetch::new(options))
        .step(Probe)
        .step(ExtractAudio::new(slots.clone()))
        .step(Transcribe::new(options, &slots))
        .step(TranscribeOffline::new(options, &slots))
        .step(Compose)
        .step(Burn::new(slots.clone()))
        .step(Verify::new(slots))
}
