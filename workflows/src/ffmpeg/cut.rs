//! Cuts a clip out of pictures that are stored: its ends are encoded, what lies between is copied,
//! and the parts are joined.

use std::path::Path;

use callsheet_actors::{StepContext, StepResult};

use super::run::Run;
use crate::limits::{CUT_MARGIN_S, MAX_CUT_COUNT};
use crate::lower::{Clip, Packet, SmartCut, smart_cut};
use crate::media::{FORMAT_WHITELIST, ffprobe, input_args};
use crate::slots::Slots;

/// A clip that can be cut.
pub(super) struct Cutter<'a> {
    context: &'a StepContext,
    slots: &'a Slots,
    path: &'a Path,
    stream: u32,
    work: &'a Path,
    clip: Clip,
    stored: Stored,
    pub(super) cut: SmartCut,
}

/// How far back ffmpeg seeks of itself in containers that are sought by the order of decoding:
/// three pictures out of 23 a second, and a little for rounding.
const SEEK_BACK_S: f64 = 3.0 / 23.0 + 0.001;

/// Why a clip cannot be cut.
type Refusal = String;

impl<'a> Cutter<'a> {
    /// Looks at what is stored around the clip, and divides it.
    ///
    /// # Errors
    /// When the file cannot be read. That it cannot be divided is an answer.
    pub(super) async fn new(
        context: &'a StepContext,
        slots: &'a Slots,
        (path, stream): (&'a Path, u32),
        work: &'a Path,
        clip: Clip,
    ) -> StepResult<Result<Self, Refusal>> {
        let stored = Stored::look(context, path, stream, Some(clip)).await?;
        let divided = stored.fits().and_then(|()| {
            let (from, to) = (stored.units(clip.from_s), clip.to_s.map(|to| stored.units(to)));
            Ok(smart_cut(&stored.packets, from, to.unwrap_or(i64::MAX))?)
        });
        Ok(divided.map(|cut| Self { context, slots, path, stream, work, clip, stored, cut }))
    }

    /// Writes the parts, and gives the arguments that read them as one.
    ///
    /// # Errors
    /// When ffmpeg fails. That the source is not stored as it says is an answer.
    pub(super) async fn write(&self) -> StepResult<Result<Vec<String>, Refusal>> {
        let mut list = "ffconcat version 1.0\n".to_owned();
        let (cut, mut joined) = (&self.cut, |name: &str, length: i64| {
            let length = self.stored.seconds(length);
            list.push_str(&format!("file {name}\nduration {length:.6}\n"));
        });
        if cut.head > 0 {
            joined("head.mp4", cut.copy_from - cut.from);
            self.encode("head.mp4", cut.from, cut.head).await?;
        }
        joined("middle.mp4", cut.copy_to - cut.copy_from);
        if !self.copy("middle.mp4").await? {
            return Ok(Err("the file's index leads to other pictures than those asked for".into()));
        }
        if cut.tail > 0 {
            joined("tail.mp4", cut.to - cut.copy_to);
            self.encode("tail.mp4", cut.copy_to, cut.tail).await?;
        }
        let path = self.work.join("parts.txt");
        std::fs::write(&path, list)?;
        // The first picture may be shown a little after the clip begins, and its sound is not.
        let late = self.shown_s(cut.from) - self.clip.from_s;
        let args = ["-itsoffset".to_owned(), format!("{late:.6}")];
        let formats = format!("concat,{FORMAT_WHITELIST}");
        let reading = ["-protocol_whitelist", "file", "-format_whitelist", &formats];
        let reading = reading.into_iter().chain(["-f", "concat", "-i"]).map(str::to_owned);
        let list = format!("file:{}", path.display());
        Ok(Ok(args.into_iter().chain(reading).chain([list]).collect()))
    }

    /// Whether a written file has each frame of the clip once.
    pub(super) async fn is_whole(&self, written: &Path) -> StepResult<bool> {
        let stored = Stored::look(self.context, written, 0, None).await?;
        Ok(stored.packets.len() == self.cut.frames())
    }

    /// What became of the pictures, in words.
    pub(super) fn told(&self) -> String {
        let (encoded, copied) = (self.cut.head + self.cut.tail, self.cut.copied.len());
        format!("{copied} pictures between keyframes are copied, {encoded} at the ends are encoded")
    }

    /// When something is shown, in seconds from the start of the file, which seeking counts from.
    fn shown_s(&self, at: i64) -> f64 {
        self.stored.seconds(at) - self.stored.start_s
    }

    /// Encodes one of the ends like what it is joined to.
    async fn encode(&self, name: &str, from: i64, frames: usize) -> StepResult<()> {
        // Half a picture earlier, so that no rounding leaves the first one out.
        let at = self.shown_s(from) - self.stored.seconds(self.cut.step) / 2.0;
        let (held, order) = match self.cut.delay {
            0 => ("0", "none"),
            1 => ("2", "none"),
            _ => ("3", "normal"),
        };
        // Its parameters have a number of their own: those of the source stay valid beside them.
        let own = format!("sps-id=31:b-pyramid={order}");
        self.part(at)
            .args(["-frames:v", &frames.to_string(), "-fps_mode", "passthrough"])
            .args(["-enc_time_base", "-1", "-c:v", "libx264", "-preset", "veryfast", "-crf", "18"])
            .args(["-pix_fmt", "yuv420p", "-profile:v", self.stored.profile(), "-bf", held])
            .args(["-x264-params", &own])
            .args(self.timescale())
            .output(&self.work.join(name))
            .run(self.slots)
            .await?;
        Ok(())
    }

    /// Copies the middle, and tells whether that is what was copied.
    async fn copy(&self, name: &str) -> StepResult<bool> {
        let to = self.work.join(name);
        for later in [0.0, SEEK_BACK_S] {
            // Rounded up, for seeking goes back to the keyframe at or before a time.
            let at = ((self.shown_s(self.cut.copy_from) + later) * 1e6).ceil() / 1e6;
            self.part(at)
                .args(["-c", "copy", "-copypriorss", "1", "-frames:v"])
                .arg(self.cut.copied.len().to_string())
                .args(["-avoid_negative_ts", "make_zero"])
                .args(self.timescale())
                .output(&to)
                .run(self.slots)
                .await?;
            let copied = Stored::look(self.context, &to, 0, None).await?.packets;
            if copied.iter().map(|packet| packet.size).eq(self.cut.copied.iter().copied()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn part(&self, at_s: f64) -> Run {
        let mut run = Run::new(self.context, None);
        if at_s > 0.0 {
            run = run.args(["-ss", &format!("{at_s:.6}")]);
        }
        let map = format!("0:{}", self.stream);
        run.args(input_args(self.path)).args(["-map", &map, "-an", "-sn", "-dn"])
    }

    fn timescale(&self) -> [String; 4] {
        let units = self.stored.units_per_s.to_string();
        ["-video_track_timescale".to_owned(), units, "-f".to_owned(), "mp4".to_owned()]
    }
}

/// What is stored in a stream of pictures, in the order in which it is stored.
struct Stored {
    start_s: f64,
    units_per_s: u32,
    fields: Vec<(String, String)>,
    packets: Vec<Packet>,
    /// Packets without a time, or that are not to be shown.
    odd: usize,
}

impl Stored {
    /// Reads the packets around a clip, or all of them; nothing is decoded.
    async fn look(
        context: &StepContext,
        path: &Path,
        stream: u32,
        clip: Option<Clip>,
    ) -> StepResult<Self> {
        let mut questions = ["-of", "compact", "-select_streams"].map(str::to_owned).to_vec();
        questions.push(stream.to_string());
        if let Some(clip) = clip {
            // The file's own time may begin later than at 0; what is read too much does no harm.
            let to = clip.to_s.map(|to| format!("%{:.3}", to + CUT_MARGIN_S)).unwrap_or_default();
            questions.extend(["-read_intervals".to_owned(), format!("{:.3}{to}", clip.from_s)]);
        }
        let entries = "format=start_time:stream=codec_name,profile,pix_fmt,field_order,time_base:\
                       stream_side_data=rotation:packet=pts,dts,size,flags";
        questions.extend(["-show_entries", entries].map(str::to_owned));
        let finished = ffprobe(questions, path, context)?.run().await?;
        Ok(Self::read(&finished.stdout))
    }

    fn read(said: &str) -> Self {
        let mut stored =
            Self { start_s: 0.0, units_per_s: 0, fields: Vec::new(), packets: Vec::new(), odd: 0 };
        for line in said.lines() {
            // Marks between sections have no fields.
            let Some((section, rest)) = line.split_once('|') else { continue };
            let fields = rest.split('|').filter_map(|field| field.split_once('='));
            match section {
                "packet" => match packet(fields) {
                    Some(packet) => stored.packets.push(packet),
                    None => stored.odd += 1,
                },
                "format" => {
                    let start = fields.into_iter().find(|(name, _)| *name == "start_time");
                    stored.start_s = start.and_then(|(_, at)| at.parse().ok()).unwrap_or(0.0);
                }
                "stream" => {
                    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                    stored.fields = fields.map(owned).collect();
                }
                _ => {}
            }
        }
        let units = stored.field("time_base").and_then(|base| base.strip_prefix("1/"));
        stored.units_per_s = units.and_then(|units| units.parse().ok()).unwrap_or(0);
        stored
    }

    fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether ends can be encoded that fit to it.
    fn fits(&self) -> Result<(), Refusal> {
        let field = |name| self.field(name).unwrap_or_default();
        let refusal = if self.units_per_s == 0 {
            "its times are counted in odd units"
        } else if self.profile().is_empty() || field("pix_fmt") != "yuv420p" {
            "no encoder here writes what could be joined to its pictures"
        } else if !matches!(field("field_order"), "" | "progressive" | "unknown") {
            "its pictures are interlaced"
        } else if self.fields.iter().any(|(name, _)| name.ends_with("rotation")) {
            "its pictures are turned"
        } else if self.start_s > CUT_MARGIN_S / 2.0 {
            "its times begin too late"
        } else if self.odd > 0 {
            "some of its pictures have no time, or are not shown"
        } else if self.packets.len() > MAX_CUT_COUNT {
            "the clip has too many pictures to look through"
        } else {
            return Ok(());
        };
        Err(refusal.to_owned())
    }

    /// The encoder's name of its profile; empty when the encoder has none such.
    fn profile(&self) -> &'static str {
        match self.field("profile") {
            Some("Constrained Baseline") => "baseline",
            Some("Main") => "main",
            Some("High") => "high",
            _ => "",
        }
    }

    /// The first unit that is not before a time, as seeking counts it.
    fn units(&self, at_s: f64) -> i64 {
        // Written times are rounded; a picture that is shown at this very time is not before it.
        ((at_s + self.start_s) * f64::from(self.units_per_s) - 0.01).ceil() as i64
    }

    fn seconds(&self, units: i64) -> f64 {
        units as f64 / f64::from(self.units_per_s)
    }
}

fn packet<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Packet> {
    let (mut pts, mut dts, mut size, mut flags) = (None, None, None, "");
    for (name, value) in fields {
        match name {
            "pts" => pts = value.parse().ok(),
            "dts" => dts = value.parse().ok(),
            "size" => size = value.parse().ok(),
            "flags" => flags = value,
            _ => {}
        }
    }
    let shown = !flags.contains('D');
    let packet = Packet { pts: pts?, dts, size: size?, key: flags.starts_with('K') };
    shown.then_some(packet)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SAID: &str = "packet|pts=0|dts=-512|size=90|flags=K_\n\
        packet|pts=1024|dts=0|size=10|flags=__\n\
        stream|codec_name=h264|profile=High|pix_fmt=yuv420p|field_order=progressive|\
        time_base=1/12800\n\
        format|start_time=0.500000\n";

    #[test]
    fn what_ffprobe_says_is_read() {
        let stored = Stored::read(SAID);
        let first = Packet { pts: 0, dts: Some(-512), size: 90, key: true };
        assert_eq!((stored.packets[0], stored.packets.len()), (first, 2));
        assert_eq!((stored.units_per_s, stored.profile()), (12_800, "high"));
        assert_eq!(stored.fits(), Ok(()));
        for (at_s, units) in [(0.0, 6_400), (0.5, 12_800), (0.500_001, 12_801), (1.0, 19_200)] {
            assert_eq!(stored.units(at_s), units, "{at_s}");
        }
    }

    #[test]
    fn what_the_ends_would_not_fit_to_is_refused() {
        for (from, to, expected) in [
            ("profile=High", "profile=High 10", "no encoder"),
            ("yuv420p", "yuv444p", "no encoder"),
            ("=progressive", "=tt", "interlaced"),
            ("time_base=1/12800", "time_base=1001/30000", "odd units"),
            ("time_base=1/12800", "time_base=1/12800|side_datum/x:rotation=-90", "turned"),
            ("start_time=0.5", "start_time=1.4", "too late"),
            ("flags=__", "flags=_D", "not shown"),
            ("pts=1024", "pts=N/A", "no time"),
            (SAID, "nonsense", "odd units"),
        ] {
            let refused = Stored::read(&SAID.replace(from, to)).fits().unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
