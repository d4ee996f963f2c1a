//! What ffprobe says of a file, as later steps need it, and the limits that it must keep.

use callsheet_actors::{StepError, StepResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{
    MAX_DURATION_S, MAX_FRAMES_PER_SECOND, MAX_PICTURE_PIXELS, MAX_SIDE_PIXELS, MAX_STREAMS_COUNT,
};

/// What is in a media file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Facts {
    /// ffmpeg's name of the container, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    pub format: String,
    /// Length in seconds, where the file says it.
    pub duration_s: Option<f64>,
    /// Size in bytes.
    pub size: u64,
    /// The streams in their order.
    pub streams: Vec<Stream>,
    /// Whether there are moving pictures.
    pub has_video: bool,
    /// Whether there is sound.
    pub has_audio: bool,
    /// Width of the picture as it is shown, in pixels.
    pub width: Option<u32>,
    /// Height of the picture as it is shown, in pixels.
    pub height: Option<u32>,
}

/// One stream of a media file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Stream {
    /// Its number in the file.
    pub index: u32,
    /// What it carries.
    pub kind: StreamKind,
    /// ffmpeg's name of its coding, such as `h264`.
    pub codec: Option<String>,
    /// Width of the picture as it is shown, in pixels.
    pub width: Option<u32>,
    /// Height of the picture as it is shown, in pixels.
    pub height: Option<u32>,
    /// Width of a pixel over its height as it is shown, where that is not 1.
    pub pixel_shape: Option<f64>,
    /// Pictures a second.
    pub fps: Option<f64>,
    /// How colours are coded in it, such as `bt709`, where the file says it.
    pub color_space: Option<String>,
    /// How brightness is coded in it: `smpte2084` and `arib-std-b67` are of high dynamic range.
    pub color_transfer: Option<String>,
    /// Samples of sound a second.
    pub sample_rate: Option<u32>,
    /// Channels of sound.
    pub channels: Option<u32>,
    /// When it begins, in seconds from the start of the file, where the file says it.
    pub start_s: Option<f64>,
    /// Length in seconds, where the file says it.
    pub duration_s: Option<f64>,
    /// When it ends, in seconds from the start of the file, where the file says it.
    pub end_s: Option<f64>,
    /// Its language, where the file says it.
    pub language: Option<String>,
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles.
    Subtitle,
    /// A picture that belongs to the file, such as a cover.
    Picture,
    /// Anything else.
    #[default]
    Other,
}

impl Facts {
    /// Reads ffprobe's JSON.
    ///
    /// # Errors
    /// `media.unreadable` when it is not what ffprobe prints; `media.no_streams` when there is
    /// nothing in the file.
    pub(crate) fn read(json: &str) -> StepResult<Self> {
        let report: Report = serde_json::from_str(json).map_err(|error| {
            StepError::fatal("media.unreadable", format!("cannot read ffprobe's answer: {error}"))
        })?;
        let start = report.format.start_time.as_deref().and_then(|time| time.parse().ok());
        let start: f64 = start.unwrap_or(0.0);
        // Matroska says when things end, counted from 0, where others say how long they are.
        let is_matroska = report.format.format_name.contains("matroska");
        let lasts = |end: f64| if is_matroska && end > start { end - start } else { end };
        let streams: Vec<Stream> = report.streams.iter().map(|raw| raw.stream(start)).collect();
        if streams.is_empty() {
            return Err(StepError::fatal("media.no_streams", "the file holds no stream"));
        }
        let longest = streams.iter().filter_map(|stream| stream.duration_s).reduce(f64::max);
        let of_kind = |kind| streams.iter().find(move |stream| stream.kind == kind);
        let video = of_kind(StreamKind::Video);
        Ok(Self {
            format: report.format.format_name,
            duration_s: seconds(report.format.duration.as_deref()).map(lasts).or(longest),
            size: report.format.size.and_then(|size| size.parse().ok()).unwrap_or(0),
            has_video: video.is_some(),
            has_audio: of_kind(StreamKind::Audio).is_some(),
            width: video.and_then(|stream| stream.width),
            height: video.and_then(|stream| stream.height),
            streams,
        })
    }

    /// Refuses what would cost too much to decode.
    ///
    /// # Errors
    /// `media.too_many_streams`, `media.too_long`, `media.too_many_pixels`,
    /// `media.too_many_frames`, `media.unreadable` when there is no size to go by.
    pub(crate) fn check(&self) -> StepResult<()> {
        let refused = |code: &str, message: String| Err(StepError::fatal(code, message));
        let count = self.streams.len();
        if count > MAX_STREAMS_COUNT {
            let message = format!("the file has {count} streams, over {MAX_STREAMS_COUNT}");
            return refused("media.too_many_streams", message);
        }
        let duration = self.sure_s().unwrap_or(0.0);
        if duration > MAX_DURATION_S {
            let message = format!("the file lasts {duration:.0} s, over {MAX_DURATION_S:.0} s");
            return refused("media.too_long", message);
        }
        for stream in &self.streams {
            // What no decoder would take is not even told.
            let is_known = stream.kind == StreamKind::Video && stream.codec.is_some();
            if is_known && (stream.width.is_none() || stream.height.is_none()) {
                let message =
                    format!("stream {} has no size that a picture can have", stream.index);
                return refused("media.unreadable", message);
            }
            let (width, height) = (stream.width.unwrap_or(0), stream.height.unwrap_or(0));
            let side = width.max(height) as usize;
            if u64::from(width) * u64::from(height) > MAX_PICTURE_PIXELS || side > MAX_SIDE_PIXELS {
                let message = format!("the picture has {width}x{height} pixels, too many");
                return refused("media.too_many_pixels", message);
            }
            let fps = stream.fps.unwrap_or(0.0);
            if stream.kind == StreamKind::Video && fps > MAX_FRAMES_PER_SECOND {
                let message = format!("{fps:.0} pictures a second, over {MAX_FRAMES_PER_SECOND}");
                return refused("media.too_many_frames", message);
            }
        }
        Ok(())
    }

    /// Whether the length is only worked out from the size and the bit rate at the start: these
    /// containers do not say it.
    pub(crate) fn guesses_length(&self) -> bool {
        matches!(self.format.as_str(), "mp3" | "aac" | "mpeg")
    }

    /// Length in seconds, where the file says it and it is no guess.
    pub(crate) fn sure_s(&self) -> Option<f64> {
        self.duration_s.filter(|_| !self.guesses_length())
    }

    /// The filter, with a comma behind it, that brings a stream to its place in the film when it is
    /// decoded alone: ffmpeg lets these containers begin with the first stream that is used.
    pub(crate) fn delay(&self, stream: &Stream) -> String {
        let late = stream.start_s.filter(|start| self.has_no_index() && *start > 0.0);
        late.map_or(String::new(), |start| format!("asetpts=PTS+{start:.6}/TB,"))
    }

    /// Whether ffmpeg can only guess where in the file a second is: what is sought may be passed.
    pub(crate) fn has_no_index(&self) -> bool {
        matches!(self.format.as_str(), "mpegts" | "mpeg")
    }

    /// The first stream of a kind.
    pub(crate) fn first(&self, kind: StreamKind) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.kind == kind)
    }

    /// The first stream of sound.
    ///
    /// # Errors
    /// `media.no_audio` when there is none.
    pub(crate) fn audio(&self) -> StepResult<&Stream> {
        self.first(StreamKind::Audio).ok_or_else(|| {
            StepError::fatal("media.no_audio", "the file has no sound, so nothing can be heard")
                .with_hint("use a file with an audio track")
        })
    }

    /// The first stream of moving pictures.
    ///
    /// # Errors
    /// `media.no_video` when there is none.
    pub(crate) fn video(&self) -> StepResult<&Stream> {
        self.first(StreamKind::Video).ok_or_else(|| {
            StepError::fatal("media.no_video", "the file has no moving pictures").with_hint(
                "use a file with a video track; for sound alone, take the subtitle files",
            )
        })
    }
}

/// What ffprobe prints, as far as it is needed. Numbers come as text.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<RawStream>,
    format: RawFormat,
}

#[derive(Deserialize)]
struct RawFormat {
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
    size: Option<String>,
}

#[derive(Deserialize)]
struct RawStream {
    index: u32,
    codec_type: Option<String>,
    codec_name: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
    sample_aspect_ratio: Option<String>,
    color_space: Option<String>,
    color_transfer: Option<String>,
    sample_rate: Option<String>,
    channels: Option<u32>,
    start_time: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    disposition: Disposition,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Default, Deserialize)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
}

#[derive(Default, Deserialize)]
struct Tags {
    /// Matroska has the end of a stream as text only, such as `00:00:12.021000000`.
    #[serde(rename = "DURATION")]
    end: Option<String>,
    language: Option<String>,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl RawStream {
    fn stream(&self, file_start_s: f64) -> Stream {
        let rotation = self.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
        // Lying pictures are turned upright by every player, and by ffmpeg before any filter.
        let upright = (rotation / 90.0).rem_euclid(2.0).round() as u8 != 1;
        let turned = |a, b| if upright { a } else { b };
        let rates = [&self.avg_frame_rate, &self.r_frame_rate];
        Stream {
            index: self.index,
            kind: self.kind(),
            codec: self.codec_name.clone(),
            width: turned(self.width, self.height).filter(|side| *side > 0),
            height: turned(self.height, self.width).filter(|side| *side > 0),
            pixel_shape: self.pixel_shape(upright),
            fps: rates.iter().find_map(|rate| ratio(rate.as_deref()?)),
            color_space: self.color_space.clone(),
            color_transfer: self.color_transfer.clone(),
            sample_rate: self.sample_rate.as_ref().and_then(|rate| rate.parse().ok()),
            channels: self.channels,
            start_s: self.start_s(file_start_s),
            duration_s: seconds(self.duration.as_deref()),
            end_s: self.end_s(file_start_s),
            language: self.tags.language.clone().filter(|language| language != "und"),
        }
    }

    fn end_s(&self, file_start_s: f64) -> Option<f64> {
        let Some(duration) = seconds(self.duration.as_deref()) else {
            let end = self.tags.end.as_deref().and_then(clock)?;
            return Some(end - file_start_s).filter(|end| *end > 0.0);
        };
        Some(duration + self.start_s(file_start_s).unwrap_or(0.0))
    }

    fn pixel_shape(&self, upright: bool) -> Option<f64> {
        let shape = ratio(&self.sample_aspect_ratio.as_ref()?.replace(':', "/"))?;
        Some(if upright { shape } else { shape.recip() }).filter(|shape| *shape != 1.0)
    }

    fn start_s(&self, file_start_s: f64) -> Option<f64> {
        let start: f64 = self.start_time.as_deref()?.parse().ok()?;
        start.is_finite().then(|| (start - file_start_s).max(0.0))
    }

    fn kind(&self) -> StreamKind {
        match self.codec_type.as_deref() {
            Some("video") if self.disposition.attached_pic == 1 => StreamKind::Picture,
            Some("video") => StreamKind::Video,
            Some("audio") => StreamKind::Audio,
            Some("subtitle") => StreamKind::Subtitle,
            _ => StreamKind::Other,
        }
    }
}

fn seconds(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0)
}

/// Reads `HH:MM:SS.ss`.
fn clock(text: &str) -> Option<f64> {
    let mut parts = text.split(':').map(|part| part.trim().parse::<f64>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    let time = (h * 60.0 + m) * 60.0 + s;
    (parts.next().is_none() && time.is_finite() && time > 0.0).then_some(time)
}

fn ratio(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/')?;
    let ratio = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(streams: Value, duration: &str) -> Facts {
        let format = json!({ "format_name": "mov,mp4", "duration": duration, "size": "1000" });
        Facts::read(&json!({ "streams": streams, "format": format }).to_string()).unwrap()
    }

    fn video(width: u32, height: u32, rate: &str) -> Value {
        json!({ "index": 0, "codec_type": "video", "codec_name": "h264", "width": width,
            "height": height, "avg_frame_rate": rate, "r_frame_rate": "25/1" })
    }

    #[test]
    fn what_ffprobe_prints_is_read() {
        let sound = json!({ "index": 1, "codec_type": "audio", "codec_name": "aac", "channels": 2,
            "sample_rate": "48000", "duration": "9.5", "tags": { "language": "eng" } });
        let cover = json!({ "index": 2, "codec_type": "video", "codec_name": "mjpeg",
            "width": 600, "height": 600, "disposition": { "attached_pic": 1 } });
        let found = facts(json!([video(640, 360, "30000/1001"), sound, cover]), "10.25");
        assert_eq!((found.duration_s, found.size), (Some(10.25), 1_000));
        assert_eq!((found.width, found.height), (Some(640), Some(360)));
        assert!(found.has_video && found.has_audio);
        let kinds: Vec<_> = found.streams.iter().map(|stream| stream.kind).collect();
        assert_eq!(kinds, [StreamKind::Video, StreamKind::Audio, StreamKind::Picture]);
        assert!((found.streams[0].fps.unwrap() - 29.97).abs() < 0.01);
        assert_eq!(found.streams[1].language.as_deref(), Some("eng"));
        assert_eq!(found.streams[1].sample_rate, Some(48_000));
    }

    #[test]
    fn lying_pictures_are_turned() {
        for (rotation, expected) in [
            (0.0, (1920, 1080)),
            (-90.0, (1080, 1920)),
            (90.0, (1080, 1920)),
            (180.0, (1920, 1080)),
        ] {
            let mut stream = video(1920, 1080, "25/1");
            stream["side_data_list"] = json!([{ "rotation": rotation }]);
            let found = facts(json!([stream]), "1");
            assert_eq!((found.width.unwrap(), found.height.unwrap()), expected, "{rotation}");
        }
    }

    #[test]
    fn a_stream_ends_where_its_container_says() {
        for (fields, end_s) in [
            (json!({ "duration": "10.0" }), Some(10.0)),
            (json!({ "duration": "10.0", "start_time": "1.5" }), Some(11.5)),
            (json!({ "tags": { "DURATION": "00:01:12.021000000" } }), Some(72.021)),
            (json!({ "tags": { "DURATION": "soon" } }), None),
            (json!({}), None),
        ] {
            let mut stream = video(64, 64, "25/1");
            stream.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            assert_eq!(facts(json!([stream]), "20").streams[0].end_s, end_s, "{fields}");
        }
    }

    #[test]
    fn a_late_stream_is_put_in_its_place_where_ffmpeg_would_not() {
        let mut stream = video(64, 64, "25/1");
        stream["start_time"] = json!("2.9");
        for (format, expected) in
            [("mpegts", "asetpts=PTS+1.500000/TB,"), ("mov,mp4", ""), ("ogg", "")]
        {
            let container = json!({ "format_name": format, "start_time": "1.4" });
            let read = json!({ "streams": [stream], "format": container });
            let facts = Facts::read(&read.to_string()).unwrap();
            assert_eq!(facts.delay(&facts.streams[0]), expected);
        }
    }

    #[test]
    fn a_matroska_file_that_begins_late_is_no_longer_for_it() {
        let mut stream = video(64, 64, "25/1");
        stream["tags"] = json!({ "DURATION": "00:00:08.500000000" });
        for (format, expected) in [("matroska,webm", (4.0, 3.5)), ("mov,mp4", (9.0, 3.5))] {
            let container = json!({ "format_name": format, "duration": "9.0", "start_time": "5" });
            let read = json!({ "streams": [stream], "format": container });
            let facts = Facts::read(&read.to_string()).unwrap();
            assert_eq!((facts.duration_s.unwrap(), facts.streams[0].end_s.unwrap()), expected);
        }
    }

    #[test]
    fn a_cover_is_no_video_and_unknown_lengths_stay_unknown() {
        let cover = json!({ "index": 0, "codec_type": "video", "width": 6, "height": 6,
            "disposition": { "attached_pic": 1 } });
        let found = facts(json!([cover]), "N/A");
        assert!(!found.has_video && !found.has_audio);
        assert_eq!(found.duration_s, None);
        assert_eq!(found.audio().unwrap_err().0.code, "media.no_audio");
        assert_eq!(found.video().unwrap_err().0.code, "media.no_video");
    }

    #[test]
    fn limits_are_held() {
        for (streams, duration, code) in [
            (json!([video(1920, 1080, "60/1")]), "10", None),
            (json!([video(60_000, 60_000, "25/1")]), "10", Some("media.too_many_pixels")),
            (json!([video(0, 0, "25/1")]), "10", Some("media.unreadable")),
            (json!([video(20_000, 2, "25/1")]), "10", Some("media.too_many_pixels")),
            (json!([video(64, 64, "1000000000/1")]), "10", Some("media.too_many_frames")),
            (json!([video(64, 64, "25/1")]), "315360000", Some("media.too_long")),
            (json!(vec![video(64, 64, "25/1"); 1_000]), "10", Some("media.too_many_streams")),
        ] {
            let found = facts(streams, duration).check().err().map(|error| error.0.code);
            assert_eq!(found.as_deref(), code);
        }
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for (text, code) in [
            ("", "media.unreadable"),
            ("{}", "media.unreadable"),
            (r#"{"streams":[],"format":{"format_name":"mov"}}"#, "media.no_streams"),
        ] {
            assert_eq!(Facts::read(text).unwrap_err().0.code, code, "{text}");
        }
    }
}
