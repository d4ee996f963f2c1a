//! Callsheet's repertoire: step kinds for media and speech, and the shipped workflows.
//!
//! [`register`] gives an engine all of it; [`MediaOptions`] says what the steps may do. Its heart
//! are its workflows: [`CAPTION`] gives a video captions, burned in and as files,
//! [`BACKGROUND_MUSIC`] lays music under one, [`MERGE`] makes one of scenes and voice-overs, and
//! [`COMPOSE`] does all three in one job; [`CONVERT`], [`THUMBNAIL`], [`CONTACT_SHEET`] and
//! [`ANALYZE`] are for single files. Every file that a step makes is an artifact; no step takes a
//! path of another one.

pub mod limits;
pub mod subtitles;

mod fetch;
mod ffmpeg;
mod lower;
mod media;
mod options;
mod quantity;
mod register;
mod sandbox;
mod scenes;
mod slots;
mod speech;
mod tls;
mod tools;
mod wanted;
mod wav;
mod webhook;

pub use fetch::{Fetch, Fetched, Origin, Source, Stored};
pub use ffmpeg::{
    Burn, Burned, ContactSheet, Conversion, Convert, Converted, Device, Glance, Glanced, MixMusic,
    Mixed, Moment, Mux, Muxed, PictureChoice, Preset, Resolution, Scoring, Sheet, Sheeted, Sound,
    SoundChoice, Still, Subtitled, Thumbnail, Titled,
};
pub use lower::{Fate, Format, PictureCodec, Quality, SoundCodec, Way};
pub use media::{
    Analysis, Analyze, ExtractAudio, Extracted, Facts, Look, Loudness, Media, Probe, Question,
    SceneChange, Silence, Stream, StreamKind, Verified, Verify, Written,
};
pub use options::{MediaOptions, OPENAI_BASE_URL, OPENAI_MODEL, OpenAi};
pub use quantity::{ByteSize, Span};
pub use register::{
    ANALYZE, BACKGROUND_MUSIC, BATCH, CAPTION, COMPOSE, CONTACT_SHEET, CONVERT, MERGE, THUMBNAIL,
    register, step_kinds,
};
pub use sandbox::{Confinement, Sandbox};
pub use scenes::{
    Captioned, ChainCaptions, Chained, EncodePicture, Fit, Framing, JoinScenes, Joined, Lasting,
    LastingAs, Lengths, MeasureScene, MixSound, Pair, PairScenes, Paired, Parts, Pictured,
    PlanScenes, Planned, Scene, SceneCaptions, ScoreFilm, Scored, Shot, Sounded, Sounds, Unpaired,
    Unplanned, Voiced,
};
pub use speech::{
    Choice, ChooseSpeech, Chosen, Cut, CutSpeech, Engaged, Heard, JoinSpeech, OfflineSpeech, Piece,
    Provider, Recognise, Recording, Speech, Transcribe, TranscribeOffline, Transcript, Utterance,
    Wish,
};
pub use tools::{MissingTool, missing_tools};
pub use wanted::Wanted;
pub use webhook::{Deliver, Delivered, Delivery, Secret, WEBHOOK, Webhook, WebhookEvent};
