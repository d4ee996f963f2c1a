//! The way of every stream: copied, cut, encoded or left out, and why.

use callsheet_actors::{StepError, StepResult};

use super::codec::{Maker, PictureCodec, SoundCodec, sound_args};
use super::fate::{Fate, Way, fate, left};
use super::filters::{even, fit};
use super::lowered::{Coding, Lowered};
use super::plan::{Clip, Picture, Plan, Sound};
use crate::media::{Stream, StreamKind};

/// Finds the fewest encodes that do what is wished.
///
/// # Errors
/// `media.not_held` when the container cannot hold what was asked for; `media.nothing_left` when
/// nothing would be in it; `ffmpeg.input` when the clip is not in the file.
pub(crate) fn lower(plan: &Plan<'_>) -> StepResult<Lowered> {
    check(plan)?;
    let clip = real_clip(plan);
    let picture = plan.picture.clone().unwrap_or_default();
    let codec = picture.codec.unwrap_or(plan.format.picture_codec());
    let mut lowered = Lowered {
        fates: Vec::new(),
        clip,
        length_s: clip.map_or(plan.facts.duration_s, |clip| clip.length_s(plan.facts.duration_s)),
        expected_s: None,
        size: None,
        coding: Coding { codec, quality: picture.quality.unwrap_or_default() },
        format: plan.format,
        seeks_badly: plan.facts.has_no_index(),
        picture_filters: Vec::new(),
        maker: Maker::Software,
        sounds: Vec::new(),
        subtitles: Vec::new(),
    };
    for stream in &plan.facts.streams {
        let fate = lowered.choose(plan, stream)?;
        lowered.fates.push(fate);
    }
    if lowered.fates.iter().all(|fate| fate.way == Way::LeftOut) {
        let name = plan.format.name();
        let message = format!("nothing of the file would be left in `{name}`");
        let why = lowered.fates.iter().map(|fate| fate.reason.as_str());
        return Err(StepError::fatal("media.nothing_left", message)
            .with_hint(why.collect::<Vec<_>>().join("; ")));
    }
    let end_s = lowered.end_s(plan);
    check_clip(plan.clip, end_s.or(plan.facts.sure_s()))?;
    lowered.expected_s = clip.map_or(end_s, |clip| clip.length_s(Some(end_s?)));
    Ok(lowered)
}

fn check(plan: &Plan<'_>) -> StepResult<()> {
    let format = plan.format.name();
    let picture = plan.picture.as_ref().and_then(|picture| picture.codec);
    let asked = picture.filter(|_| plan.format.has_pictures()).map(PictureCodec::codec);
    let sound = plan.sound.as_ref().and_then(|sound| sound.codec).map(SoundCodec::codec);
    for (kind, codec) in [(StreamKind::Video, asked), (StreamKind::Audio, sound)] {
        if let Some(codec) = codec.filter(|codec| !plan.format.holds(kind, codec)) {
            let message = format!("`{format}` does not hold `{codec}`, or players do not play it");
            return Err(StepError::fatal("media.not_held", message)
                .with_hint("leave the codec at `auto`, or write into `mkv`, which holds all"));
        }
    }
    Ok(())
}

/// Refuses a clip that is not in what is kept of the file.
fn check_clip(clip: Option<Clip>, end_s: Option<f64>) -> StepResult<()> {
    let Some(Clip { from_s, to_s }) = clip else { return Ok(()) };
    let end = end_s.unwrap_or(f64::INFINITY);
    let message = if !(from_s >= 0.0 && from_s < end) {
        format!("the clip begins at {from_s} s, outside of the file's {end:.3} s")
    } else if to_s.is_some_and(|to| to.is_nan() || to <= from_s) {
        format!("the clip ends at {} s, before it begins", to_s.unwrap_or_default())
    } else {
        return Ok(());
    };
    Err(StepError::fatal("ffmpeg.input", message))
}

/// The clip, when it leaves anything out.
fn real_clip(plan: &Plan<'_>) -> Option<Clip> {
    let whole = |clip: &Clip| {
        let ends = clip.to_s.is_none_or(|to| plan.facts.sure_s().is_some_and(|end| to >= end));
        clip.from_s <= 0.0 && ends
    };
    plan.clip.filter(|clip| !whole(clip))
}

impl Lowered {
    /// When the last of the pictures and sounds that are kept ends, where the file is sure of it.
    fn end_s(&self, plan: &Plan<'_>) -> Option<f64> {
        let timed = |kind| matches!(kind, StreamKind::Video | StreamKind::Audio);
        let streams = plan.facts.streams.iter().zip(&self.fates);
        let (kept, left): (Vec<_>, Vec<_>) = streams
            .filter(|(stream, _)| timed(stream.kind))
            .partition(|(_, fate)| fate.way != Way::LeftOut);
        let ends: Option<Vec<f64>> = kept.iter().map(|(stream, _)| stream.end_s).collect();
        let last = ends.map(|ends| ends.into_iter().reduce(f64::max));
        // What is left out may be what makes the file as long as it is.
        let whole = plan.facts.duration_s.filter(|_| left.is_empty());
        last.unwrap_or(whole).filter(|_| !plan.facts.guesses_length())
    }

    fn choose(&mut self, plan: &Plan<'_>, stream: &Stream) -> StepResult<Fate> {
        Ok(match (stream.kind, &plan.picture, &plan.sound) {
            (StreamKind::Video, Some(wish), _) => self.choose_pictures(wish, stream),
            (StreamKind::Audio, _, Some(wish)) => return self.choose_sound(wish, stream),
            (StreamKind::Subtitle, ..) if plan.subtitles => self.choose_subtitles(stream),
            (StreamKind::Picture, ..) => left(stream, "a cover is not kept"),
            (StreamKind::Other, ..) => left(stream, "it is neither picture, sound nor text"),
            _ => left(stream, "it is not wanted"),
        })
    }

    fn choose_pictures(&mut self, wish: &Picture, stream: &Stream) -> Fate {
        let format = self.format.name();
        if !self.format.has_pictures() {
            return left(stream, &format!("`{format}` holds no pictures"));
        }
        if self.count(StreamKind::Video) > 0 {
            return left(stream, "only the first track of pictures is kept");
        }
        let codec = stream.codec.clone().unwrap_or_default();
        let size = stream.width.zip(stream.height);
        self.size = size;
        let reasons = self.reasons_to_encode(wish, stream, &codec);
        // They are ready in any case: what was to be cut may turn out to be impossible to cut.
        self.picture_filters = picture_filters(wish, stream, &mut self.size);
        let reason = if !reasons.is_empty() {
            reasons.join("; ")
        } else if self.clip.is_none() {
            return fate(stream, Way::Copied, &codec, format!("`{format}` holds `{codec}`"));
        } else if self.seeks_badly {
            "a clip of a file without an index cannot be copied to the frame".to_owned()
        } else if codec == "h264" {
            // Both ends are encoded as what is between them.
            self.coding.codec = PictureCodec::H264;
            let reason = "what lies between the first and the last keyframe is copied".to_owned();
            let mut cut = fate(stream, Way::Cut, &codec, reason);
            cut.encoder = Maker::Software.encoder(PictureCodec::H264).map(str::to_owned);
            return cut;
        } else {
            format!("a clip of `{codec}` begins where it cannot be copied from")
        };
        let mut encoded = fate(stream, Way::Encoded, self.coding.codec.codec(), reason);
        encoded.encoder = self.encoder();
        encoded
    }

    fn reasons_to_encode(&self, wish: &Picture, stream: &Stream, codec: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(asked) = wish.codec.map(PictureCodec::codec).filter(|asked| *asked != codec) {
            reasons.push(format!("`{asked}` was asked for, the source has `{codec}`"));
        } else if !self.format.holds(StreamKind::Video, codec) {
            reasons.push(format!("`{}` does not hold `{codec}`", self.format.name()));
        }
        if wish.quality.is_some() {
            reasons.push("a quality was asked for".to_owned());
        }
        if let (Some(into), Some(size)) = (wish.fit, stream.width.zip(stream.height)) {
            let (width, height) = fit(size, into);
            if (width, height) != size {
                reasons.push(format!("its size becomes {width}x{height}"));
            }
        }
        if let Some(fps) = wish.fps.filter(|fps| differs(*fps, stream.fps)) {
            reasons.push(format!("its pictures become {fps} a second"));
        }
        if wish.filters.is_some() {
            reasons.push("something is drawn into the picture".to_owned());
        }
        reasons
    }

    fn choose_sound(&mut self, wish: &Sound, stream: &Stream) -> StepResult<Fate> {
        if self.count(StreamKind::Audio) > 0 && !self.format.has_many_sounds() {
            let reason = format!("`{}` holds one track of sound", self.format.name());
            return Ok(left(stream, &reason));
        }
        let codec = stream.codec.clone().unwrap_or_default();
        let track = self.sounds.len();
        let reasons = self.reasons_to_encode_sound(wish, stream, &codec);
        if reasons.is_empty() {
            self.sounds.push(vec![format!("-c:a:{track}"), "copy".to_owned()]);
            let reason = format!("`{}` holds `{codec}`", self.format.name());
            return Ok(fate(stream, Way::Copied, &codec, reason));
        }
        let same = [SoundCodec::Aac, SoundCodec::Mp3, SoundCodec::Opus, SoundCodec::Flac]
            .into_iter()
            .find(|known| known.codec() == codec)
            .filter(|_| self.format.holds(StreamKind::Audio, &codec));
        let coding = wish.codec.or(same).unwrap_or(self.format.sound_codec());
        if let Some(message) = coding.refusal(wish.channels, wish.sample_rate) {
            return Err(StepError::fatal("ffmpeg.input", message)
                .with_hint("ask for what it has, or for another `audio_codec` or `format`"));
        }
        let channels = wish.channels.or(stream.channels).unwrap_or(2);
        let mut args = sound_args(coding, wish.kbps, channels);
        let encoder = args.get(1).cloned();
        for (name, value) in [("-ac", wish.channels), ("-ar", wish.sample_rate)] {
            if let Some(value) = value {
                args.extend([format!("{name}:a"), value.to_string()]);
            }
        }
        let filters = self.sound_filters(wish, coding, channels);
        if !filters.is_empty() {
            args.extend(["-filter:a".to_owned(), filters.join(",")]);
        }
        // Each track has options of its own.
        let own = |arg: String| if arg.ends_with(":a") { format!("{arg}:{track}") } else { arg };
        self.sounds.push(args.into_iter().map(own).collect());
        let mut encoded = fate(stream, Way::Encoded, coding.codec(), reasons.join("; "));
        encoded.encoder = encoder;
        Ok(encoded)
    }

    fn reasons_to_encode_sound(&self, wish: &Sound, stream: &Stream, codec: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(asked) = wish.codec.map(SoundCodec::codec).filter(|asked| *asked != codec) {
            reasons.push(format!("`{asked}` was asked for, the source has `{codec}`"));
        } else if !self.format.holds(StreamKind::Audio, codec) {
            reasons.push(format!("`{}` does not hold `{codec}`", self.format.name()));
        }
        if let Some(kbps) = wish.kbps {
            reasons.push(format!("{kbps} kbit/s were asked for"));
        }
        for (what, asked, has) in [
            ("channels", wish.channels, stream.channels),
            ("samples a second", wish.sample_rate, stream.sample_rate),
        ] {
            if let Some(asked) = asked.filter(|asked| Some(*asked) != has) {
                reasons.push(format!("{asked} {what} were asked for"));
            }
        }
        if wish.filters.is_some() {
            reasons.push("it is mixed".to_owned());
        }
        // Up to a clip's end whole packets can be copied; its beginning lies within one.
        if self.clip.is_some_and(|clip| clip.from_s > 0.0) {
            reasons.push("the clip begins within a packet of sound".to_owned());
        }
        reasons
    }

    fn sound_filters(&self, wish: &Sound, coding: SoundCodec, channels: u32) -> Vec<String> {
        let mut filters: Vec<String> = wish.filters.iter().cloned().collect();
        if !self.format.has_pictures() {
            // Files of sound have no times: a pause in the source is a pause only as silence.
            filters.push("aresample=async=1:first_pts=0".to_owned());
        }
        if coding == SoundCodec::Opus && channels > 2 {
            // Its encoder knows few of the orders that channels come in.
            filters.push("aformat=channel_layouts=7.1|5.1|stereo".to_owned());
        }
        filters
    }

    fn choose_subtitles(&mut self, stream: &Stream) -> Fate {
        let (format, codec) = (self.format, stream.codec.clone().unwrap_or_default());
        let name = format.name();
        if format.holds(StreamKind::Subtitle, &codec) {
            self.subtitles.push("copy");
            return fate(stream, Way::Copied, &codec, format!("`{name}` holds `{codec}`"));
        }
        let Some(text) = format.rewritten_subtitles(&codec) else {
            return left(stream, &format!("`{name}` does not hold subtitles in `{codec}`"));
        };
        self.subtitles.push(text);
        let reason = format!("`{name}` does not hold `{codec}`; its text is written anew");
        fate(stream, Way::Encoded, text, reason)
    }
}

/// The filters of pictures: fewer of them first, then smaller ones, so that what is drawn into them
/// is as sharp as they are.
fn picture_filters(wish: &Picture, stream: &Stream, size: &mut Option<(u32, u32)>) -> Vec<String> {
    let mut filters = Vec::new();
    if let Some(fps) = wish.fps.filter(|fps| differs(*fps, stream.fps)) {
        filters.push(format!("fps={fps}"));
    }
    if let (Some(into), Some(from)) = (wish.fit, *size) {
        let (width, height) = fit(from, into);
        if (width, height) != from {
            filters.push(format!("scale={width}:{height}"));
            *size = Some((width, height));
        }
    }
    let (width, height) = (size.map(|size| size.0), size.map(|size| size.1));
    filters.extend(even(width, height).map(str::to_owned));
    filters.extend(wish.filters.iter().cloned());
    filters
}

fn differs(fps: f64, from: Option<f64>) -> bool {
    from.is_none_or(|from| (fps - from).abs() > 0.01)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::codec::Quality;
    use super::super::format::Format;
    use super::*;
    use crate::media::Facts;

    fn stream(index: u32, kind: StreamKind, codec: &str) -> Stream {
        let pictures = kind == StreamKind::Video;
        Stream {
            index,
            kind,
            codec: Some(codec.to_owned()),
            width: pictures.then_some(1280),
            height: pictures.then_some(720),
            fps: pictures.then_some(25.0),
            sample_rate: (kind == StreamKind::Audio).then_some(48_000),
            channels: (kind == StreamKind::Audio).then_some(2),
            ..Stream::default()
        }
    }

    fn facts(streams: &[(StreamKind, &str)]) -> Facts {
        let each = streams.iter().zip(0..);
        let streams = each.map(|((kind, codec), n)| stream(n, *kind, codec)).collect();
        Facts { duration_s: Some(60.0), streams, ..Facts::default() }
    }

    const FILM: [(StreamKind, &str); 2] = [(StreamKind::Video, "h264"), (StreamKind::Audio, "aac")];

    fn plan(facts: &Facts, format: Format) -> Plan<'_> {
        let (picture, sound) = (Some(Picture::default()), Some(Sound::default()));
        Plan { facts, clip: None, picture, sound, subtitles: true, format }
    }

    fn ways(lowered: &Lowered) -> Vec<Way> {
        lowered.fates.iter().map(|fate| fate.way).collect()
    }

    #[test]
    fn what_the_container_holds_is_copied() {
        use StreamKind::{Audio, Other, Picture, Subtitle, Video};
        use Way::{Copied, Encoded, LeftOut};
        for (streams, format, expected) in [
            (&FILM[..], Format::Mp4, &[Copied, Copied][..]),
            (&FILM, Format::Mkv, &[Copied, Copied]),
            (&FILM, Format::Mov, &[Copied, Copied]),
            (&FILM, Format::Webm, &[Encoded, Encoded]),
            (&FILM, Format::M4a, &[LeftOut, Copied]),
            (&FILM, Format::Mp3, &[LeftOut, Encoded]),
            (&[(Video, "vp9"), (Audio, "opus")], Format::Mp4, &[Copied, Encoded]),
            (&[(Video, "vp9"), (Audio, "opus")], Format::Webm, &[Copied, Copied]),
            (&[(Audio, "aac"), (Audio, "aac")], Format::Mp4, &[Copied, Copied]),
            (&[(Audio, "aac"), (Audio, "aac")], Format::M4a, &[Copied, LeftOut]),
            (&[(Video, "h264"), (Video, "h264")], Format::Mkv, &[Copied, LeftOut]),
            (&[(Audio, "mp3"), (Picture, "png")], Format::Mp3, &[Copied, LeftOut]),
            (&[(Audio, "mp3"), (Other, "bin")], Format::Mkv, &[Copied, LeftOut]),
            (&[(Video, "h264"), (Subtitle, "subrip")], Format::Mkv, &[Copied, Copied]),
            (&[(Video, "h264"), (Subtitle, "subrip")], Format::Mp4, &[Copied, Encoded]),
            (&[(Video, "h264"), (Subtitle, "dvd_subtitle")], Format::Mp4, &[Copied, LeftOut]),
        ] {
            let facts = facts(streams);
            let lowered = lower(&plan(&facts, format)).unwrap();
            assert_eq!(ways(&lowered), expected, "{streams:?} to {format:?}");
            let encoded = expected.contains(&Encoded);
            let args = lowered.output().join(" ");
            let encoders = ["libx264", "libvpx", "libopus", "libmp3lame", "-c:a:0 aac", "mov_text"];
            assert_eq!(encoders.iter().any(|name| args.contains(name)), encoded, "{args}");
        }
    }

    #[test]
    fn pictures_are_encoded_for_a_reason_only() {
        let facts = facts(&FILM);
        for (wish, way, reason) in [
            (Picture::default(), Way::Copied, "`mp4` holds `h264`"),
            (
                Picture { codec: Some(PictureCodec::H264), ..Picture::default() },
                Way::Copied,
                "`mp4` holds `h264`",
            ),
            (
                Picture { codec: Some(PictureCodec::H265), ..Picture::default() },
                Way::Encoded,
                "`hevc` was asked for, the source has `h264`",
            ),
            (
                Picture { quality: Some(Quality::Small), ..Picture::default() },
                Way::Encoded,
                "a quality was asked for",
            ),
            (
                Picture { fit: Some((None, 360)), ..Picture::default() },
                Way::Encoded,
                "its size becomes 640x360",
            ),
            (
                Picture { fit: Some((None, 1080)), ..Picture::default() },
                Way::Copied,
                "`mp4` holds `h264`",
            ),
            (
                Picture { fps: Some(12.5), ..Picture::default() },
                Way::Encoded,
                "its pictures become 12.5 a second",
            ),
            (Picture { fps: Some(25.0), ..Picture::default() }, Way::Copied, "`mp4` holds `h264`"),
            (
                Picture { filters: Some("ass=a.ass".to_owned()), ..Picture::default() },
                Way::Encoded,
                "something is drawn into the picture",
            ),
        ] {
            let plan = Plan { picture: Some(wish), ..plan(&facts, Format::Mp4) };
            let lowered = lower(&plan).unwrap();
            assert_eq!(lowered.fates[0].way, way);
            assert_eq!(lowered.fates[0].reason, reason);
            assert_eq!(lowered.fates[0].encoder.is_some(), way == Way::Encoded);
            assert_eq!(lowered.fates[1].way, Way::Copied, "the sound has nothing to do with it");
        }
    }

    #[test]
    fn filters_stand_in_their_order_and_the_device_comes_last() {
        let facts = facts(&FILM);
        let wish = Picture {
            fit: Some((None, 360)),
            fps: Some(10.0),
            filters: Some("ass=a.ass".to_owned()),
            ..Picture::default()
        };
        let mut lowered =
            lower(&Plan { picture: Some(wish), ..plan(&facts, Format::Mp4) }).unwrap();
        assert_eq!(lowered.size, Some((640, 360)));
        let args = lowered.output().join(" ");
        assert!(
            args.contains("-vf fps=10,scale=640:360,ass=a.ass -fps_mode vfr -c:v libx264"),
            "{args}"
        );
        lowered.set_maker(Maker::Vaapi);
        let args = lowered.output().join(" ");
        let tail = "ass=a.ass,format=nv12,hwupload -fps_mode vfr -c:v h264_vaapi";
        assert!(args.contains(tail), "{args}");
        assert_eq!(lowered.fates[0].encoder.as_deref(), Some("h264_vaapi"));
        let input = lowered.input(std::path::Path::new("/a"));
        assert_eq!(input[0], "-vaapi_device");
    }

    #[test]
    fn sound_is_encoded_for_a_reason_only() {
        let facts = facts(&FILM);
        let sound = Sound::default;
        for (wish, args) in [
            (sound(), "-map 0:1 -c:a:0 copy"),
            (Sound { codec: Some(SoundCodec::Aac), ..sound() }, "-map 0:1 -c:a:0 copy"),
            (
                Sound { kbps: Some(64), channels: Some(1), ..sound() },
                "-map 0:1 -c:a:0 aac -b:a:0 64k -ac:a:0 1",
            ),
            (Sound { channels: Some(2), ..sound() }, "-map 0:1 -c:a:0 copy"),
            (
                Sound { sample_rate: Some(16_000), ..sound() },
                "-map 0:1 -c:a:0 aac -b:a:0 192k -ar:a:0 16000",
            ),
            (
                Sound { filters: Some("volume=2".to_owned()), ..sound() },
                "-map 0:1 -c:a:0 aac -b:a:0 192k -filter:a:0 volume=2",
            ),
        ] {
            let plan = Plan { sound: Some(wish), ..plan(&facts, Format::Mp4) };
            assert_eq!(lower(&plan).unwrap().others("0").join(" "), format!("{args} -sn"));
        }
        let none = Plan { sound: None, ..plan(&facts, Format::Mp4) };
        assert_eq!(lower(&none).unwrap().others("0").join(" "), "-an -sn");
    }

    #[test]
    fn a_clip_is_cut_where_it_can_be() {
        let hevc = [(StreamKind::Video, "hevc"), (StreamKind::Audio, "aac")];
        let clip = |from_s, to_s| Some(Clip { from_s, to_s });
        for (streams, clip, expected, seek) in [
            (&FILM, None, [Way::Copied, Way::Copied], ""),
            (&FILM, clip(0.0, Some(60.0)), [Way::Copied, Way::Copied], ""),
            (&FILM, clip(0.0, Some(5.5)), [Way::Cut, Way::Copied], "-t 5.500000"),
            (&FILM, clip(5.0, None), [Way::Cut, Way::Encoded], "-ss 5.000000"),
            (&FILM, clip(5.0, Some(7.0)), [Way::Cut, Way::Encoded], "-ss 5.000000 -t 2.000000"),
            (&hevc, clip(5.0, None), [Way::Encoded, Way::Encoded], "-ss 5.000000"),
        ] {
            let facts = facts(streams);
            let mut lowered = lower(&Plan { clip, ..plan(&facts, Format::Mp4) }).unwrap();
            assert_eq!(ways(&lowered), expected, "{clip:?}");
            assert_eq!(lowered.seek().join(" "), seek);
            lowered.encode_instead("it would be of no use");
            assert!(!ways(&lowered).contains(&Way::Cut));
        }
    }

    #[test]
    fn a_source_that_seeks_badly_is_entered_early() {
        for (from_s, to_s, early, trim) in [
            (15.0, Some(20.0), "-ss 5.000000", "-ss 10.000000 -t 5.000000 "),
            (15.0, None, "-ss 5.000000", "-ss 10.000000 "),
            (4.0, Some(5.0), "", "-ss 4.000000 -t 1.000000 "),
            (0.0, Some(5.0), "-t 5.000000", ""),
        ] {
            let facts = Facts { format: "mpegts".to_owned(), ..facts(&FILM) };
            let clip = Some(Clip { from_s, to_s });
            let lowered = lower(&Plan { clip, ..plan(&facts, Format::Mp4) }).unwrap();
            assert_eq!(
                ways(&lowered)[0],
                Way::Encoded,
                "what is sought comes too early for a copy"
            );
            assert_eq!(lowered.seek().join(" "), early);
            let output = lowered.output().join(" ");
            assert!(output.starts_with(&format!("{trim}-map 0:0")), "{output}");
        }
    }

    #[test]
    fn what_is_left_out_makes_no_result_longer() {
        let both = || (Some(Picture::default()), Some(Sound::default()));
        let clip = Some(Clip { from_s: 2.0, to_s: Some(50.0) });
        for (container, ends, (picture, sound), clip, expected) in [
            ("mp4", [Some(10.0), Some(20.0)], both(), None, Some(20.0)),
            ("mp4", [Some(10.0), Some(20.0)], both(), clip, Some(18.0)),
            ("mp4", [Some(10.0), Some(20.0)], (both().0, None), None, Some(10.0)),
            ("mp4", [Some(10.0), Some(20.0)], (both().0, None), clip, Some(8.0)),
            ("mp4", [Some(20.0), Some(10.0)], (None, both().1), None, Some(10.0)),
            ("mp4", [Some(10.0), None], both(), None, Some(60.0)),
            ("mp4", [Some(10.0), None], (None, both().1), None, None),
            ("mpeg", [Some(10.0), Some(20.0)], both(), None, None),
        ] {
            let mut facts = Facts { format: container.to_owned(), ..facts(&FILM) };
            for (stream, end_s) in facts.streams.iter_mut().zip(ends) {
                stream.end_s = end_s;
            }
            let plan = Plan { picture, sound, clip, ..plan(&facts, Format::Mkv) };
            assert_eq!(lower(&plan).unwrap().expected_s, expected, "{container} {ends:?} {clip:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let film = facts(&FILM);
        let silent = facts(&FILM[..1]);
        let vp9 = Picture { codec: Some(PictureCodec::Vp9), ..Picture::default() };
        let mp3 = Sound { codec: Some(SoundCodec::Mp3), ..Sound::default() };
        let clip = |from_s, to_s| Some(Clip { from_s, to_s });
        for (plan, code) in [
            (plan(&silent, Format::Mp3), "media.nothing_left"),
            (Plan { picture: Some(vp9), ..plan(&film, Format::Mov) }, "media.not_held"),
            (Plan { sound: Some(mp3), ..plan(&film, Format::Webm) }, "media.not_held"),
            (Plan { clip: clip(60.0, None), ..plan(&film, Format::Mp4) }, "ffmpeg.input"),
            (Plan { clip: clip(-1.0, None), ..plan(&film, Format::Mp4) }, "ffmpeg.input"),
            (Plan { clip: clip(f64::NAN, None), ..plan(&film, Format::Mp4) }, "ffmpeg.input"),
            (Plan { clip: clip(5.0, Some(5.0)), ..plan(&film, Format::Mp4) }, "ffmpeg.input"),
        ] {
            let refused = lower(&plan).unwrap_err();
            assert_eq!(refused.0.code, code, "{}", refused.0.message);
        }
    }

    fn any_stream() -> impl Strategy<Value = (StreamKind, &'static str)> {
        prop_oneof![
            prop::sample::select(vec!["h264", "hevc", "vp9", "prores", "mjpeg", "wmv2"])
                .prop_map(|codec| (StreamKind::Video, codec)),
            prop::sample::select(vec!["aac", "mp3", "opus", "pcm_s16le", "wmav2", "flac"])
                .prop_map(|codec| (StreamKind::Audio, codec)),
            prop::sample::select(vec!["subrip", "ass", "mov_text", "dvd_subtitle"])
                .prop_map(|codec| (StreamKind::Subtitle, codec)),
            Just((StreamKind::Picture, "png")),
            Just((StreamKind::Other, "bin_data")),
        ]
    }

    proptest! {
        #[test]
        fn everything_in_the_result_is_held_and_named_once(
            streams in prop::collection::vec(any_stream(), 1..8),
            format in prop::sample::select(Format::ALL.to_vec()),
            from in prop::option::of(1.0..50.0_f64),
        ) {
            let facts = facts(&streams);
            let clip = from.map(|from_s| Clip { from_s, to_s: None });
            let Ok(lowered) = lower(&Plan { clip, ..plan(&facts, format) }) else {
                return Ok(());
            };
            let args = lowered.output();
            prop_assert_eq!(lowered.fates.len(), facts.streams.len());
            for fate in &lowered.fates {
                let codec = fate.codec.as_deref();
                let held = codec.is_some_and(|codec| format.holds(fate.kind, codec));
                prop_assert_eq!(held, fate.way != Way::LeftOut, "{:?}", fate);
                let map = format!("0:{}", fate.stream);
                let maps = args.iter().filter(|arg| **arg == map).count();
                prop_assert_eq!(maps, usize::from(fate.way != Way::LeftOut));
                prop_assert!(!fate.reason.is_empty());
            }
            // A clip never copies what begins within it.
            let copied = lowered.fates.iter().any(|fate| {
                fate.way == Way::Copied && fate.kind != StreamKind::Subtitle
            });
            prop_assert!(!(copied && clip.is_some()));
        }
    }
}
