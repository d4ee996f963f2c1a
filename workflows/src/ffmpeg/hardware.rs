//! Which encoders of this machine work, found out by encoding with them: that ffmpeg lists one says
//! nothing of a device or a driver.

use std::collections::HashMap;
use std::sync::Arc;

use callsheet_actors::{StepContext, StepError, StepResult};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::run::Run;
use crate::limits::HARDWARE_TEST_TIMEOUT;
use crate::lower::{Maker, PictureCodec, Quality, picture_args};
use crate::slots::Slots;

/// Who is to encode the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor: the smallest files, the same on every machine.
    #[default]
    Software,
    /// The first device that works, else the processor.
    Auto,
    /// A graphics card of NVIDIA.
    Nvenc,
    /// The graphics part of a processor of Intel.
    Qsv,
    /// Whatever Linux has as a video device.
    Vaapi,
}

impl Device {
    fn makers(self) -> &'static [Maker] {
        match self {
            Self::Software => &[],
            Self::Auto => &Maker::HARDWARE,
            Self::Nvenc => &[Maker::Nvenc],
            Self::Qsv => &[Maker::Qsv],
            Self::Vaapi => &[Maker::Vaapi],
        }
    }
}

/// Why an encoder does not work; none when it does.
type Verdict = Option<String>;

/// What was found out about the encoders. Clones share it, for as long as the engine lives.
#[derive(Clone, Default)]
pub(crate) struct Hardware(Arc<Mutex<HashMap<(Maker, PictureCodec), Verdict>>>);

impl Hardware {
    /// Who encodes, and what was tried in vain before.
    ///
    /// # Errors
    /// When the attempt is cancelled meanwhile.
    pub(crate) async fn choose(
        &self,
        device: Device,
        (codec, quality): (PictureCodec, Quality),
        context: &StepContext,
        slots: &Slots,
    ) -> StepResult<(Maker, Vec<String>)> {
        if quality == Quality::Lossless {
            let note = "no hardware encodes without loss; the processor does";
            let notes = (device != Device::Software).then(|| note.to_owned());
            return Ok((Maker::Software, notes.into_iter().collect()));
        }
        let mut notes = Vec::new();
        for maker in device.makers() {
            let test = async || test(*maker, codec, context, slots).await;
            match self.verdict(*maker, codec, test).await {
                Ok(None) => return Ok((*maker, notes)),
                Ok(Some(why)) => notes.push(format!("{}: {why}", name(*maker))),
                // That a device is busy now says nothing of later, so it is no verdict.
                Err(StepError(late)) if late.code == "ffmpeg.timeout" => {
                    notes.push(format!("{}: {}", name(*maker), late.message));
                }
                Err(error) => return Err(error),
            }
        }
        if !notes.is_empty() {
            notes.push("the processor encodes".to_owned());
        }
        Ok((Maker::Software, notes))
    }

    /// The verdict on one encoder, found out once. Others who ask meanwhile wait for it.
    async fn verdict(
        &self,
        maker: Maker,
        codec: PictureCodec,
        test: impl AsyncFnOnce() -> StepResult<Verdict>,
    ) -> StepResult<Verdict> {
        let mut known = self.0.lock().await;
        if let Some(verdict) = known.get(&(maker, codec)) {
            return Ok(verdict.clone());
        }
        let verdict = test().await?;
        known.insert((maker, codec), verdict.clone());
        Ok(verdict)
    }
}

fn name(maker: Maker) -> &'static str {
    match maker {
        Maker::Software => "software",
        Maker::Nvenc => "nvenc",
        Maker::Qsv => "qsv",
        Maker::Vaapi => "vaapi",
    }
}

/// Encodes a fifth of a second.
async fn test(
    maker: Maker,
    codec: PictureCodec,
    context: &StepContext,
    slots: &Slots,
) -> StepResult<Verdict> {
    let Some(args) = picture_args(codec, Quality::Draft, maker) else {
        return Ok(Some(format!("it has no encoder for `{}`", codec.codec())));
    };
    let run = Run::new(context, None)
        .args(maker.device())
        .args(["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=0.2"])
        .args(maker.upload().into_iter().flat_map(|filter| ["-vf", filter]))
        .args(args)
        .args(["-f", "null"])
        .nowhere()
        .within(HARDWARE_TEST_TIMEOUT)
        .run(slots);
    match run.await {
        Ok(_) => Ok(None),
        Err(error) if error.0.code == "ffmpeg.failed" => Ok(Some(reason(&error.0.message))),
        Err(error) => Err(error),
    }
}

/// The first line of what ffmpeg said, which is the cause; the others follow from it.
fn reason(message: &str) -> String {
    let line = message.lines().nth(1).unwrap_or(message);
    line.rsplit_once("] ").map_or(line, |(_, said)| said).trim().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_encoder_is_tried_once() {
        let (hardware, tries) = (Hardware::default(), AtomicUsize::new(0));
        for answer in [Some("no device".to_owned()), None] {
            let test = async || {
                tries.fetch_add(1, Ordering::SeqCst);
                Ok(answer)
            };
            let found = hardware.clone().verdict(Maker::Nvenc, PictureCodec::H264, test).await;
            assert_eq!(found.unwrap().as_deref(), Some("no device"));
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        let other = hardware.verdict(Maker::Nvenc, PictureCodec::Av1, async || Ok(None)).await;
        assert_eq!(other.unwrap(), None);
    }

    #[tokio::test]
    async fn what_was_interrupted_is_no_verdict() {
        let hardware = Hardware::default();
        for code in ["ffmpeg.killed", "ffmpeg.timeout"] {
            let lost = async || Err(StepError::retryable(code, "lost"));
            assert!(hardware.verdict(Maker::Qsv, PictureCodec::H264, lost).await.is_err());
        }
        let again = hardware.verdict(Maker::Qsv, PictureCodec::H264, async || Ok(None)).await;
        assert_eq!(again.unwrap(), None);
    }

    #[test]
    fn the_reason_is_what_ffmpeg_says_first() {
        for (message, expected) in [
            (
                "`ffmpeg -i` ended with 1:\n[h264_nvenc @ 0x5] [error] Cannot load libcuda.so.1\nx",
                "Cannot load libcuda.so.1",
            ),
            (
                "`ffmpeg` ended with 1:\nDevice creation failed: -542398533.",
                "Device creation failed: -542398533.",
            ),
            ("one line", "one line"),
        ] {
            assert_eq!(reason(message), expected);
        }
    }

    #[test]
    fn the_processor_is_no_device() {
        assert!(Device::default().makers().is_empty());
        for device in [Device::Auto, Device::Nvenc, Device::Qsv, Device::Vaapi] {
            assert!(!device.makers().contains(&Maker::Software));
        }
    }
}
