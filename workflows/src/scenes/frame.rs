//! How a scene's pictures are brought to the film's size, speed and colours: the filters, as text.
//! Nothing in them comes from a user but numbers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::rate::Rate;
use crate::media::Stream;

/// How a picture of another shape fills the film's frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// It fills the frame, and what stands out is cut off on both sides.
    #[default]
    Cover,
    /// All of it is seen, between black bars.
    Contain,
}

/// The frame of the film.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fit: Fit,
    pub(crate) rate: Rate,
}

/// Brightness as light, then as a screen of old shows it: pictures of high dynamic range look grey
/// when they are merely cut to eight bits.
const TONE_MAP: &str = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,\
    tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv,";

/// Every part is said to be coloured alike, or a player would change colours at a seam.
const COLOURS: &str = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709";

/// Pictures that do not say how their colours are coded are taken for HD video from this height on,
/// as players do.
const HD_HEIGHT_PIXELS: u32 = 720;

impl Frame {
    /// The filters for a stream; behind them stands `end`, which draws on the finished frame. The
    /// last picture is held for `hold` pictures, or until as many are written as were planned.
    pub(crate) fn filters(&self, source: &Stream, hold: Option<u64>, end: Option<&str>) -> String {
        let speed = format!("fps={}:start_time=0:round=near", self.rate.arg());
        let size = self.size(source);
        // Whichever leaves the other less to do comes first.
        let slower = source.fps.is_some_and(|fps| self.rate.frames(1.0) as f64 > fps);
        let (first, second) = if slower { (size, speed) } else { (speed, size) };
        let end = end.map_or(String::new(), |filter| format!(",{filter}"));
        let hold = hold.map_or("-1".to_owned(), |pictures| pictures.to_string());
        format!("{first},{second},tpad=stop={hold}:stop_mode=clone{end},{COLOURS}")
    }

    /// Cuts and scales, or scales and pads. `sar` is the shape of a pixel, `dar` that of the whole
    /// picture as it is shown.
    fn size(&self, source: &Stream) -> String {
        let (w, h) = (self.width, self.height);
        let is_hdr = matches!(source.color_transfer.as_deref(), Some("smpte2084" | "arib-std-b67"));
        let (colours, tone_map) = if is_hdr { ("", TONE_MAP) } else { (self.colours(source), "") };
        let shaped = match self.fit {
            // Cut first: what will not be seen is not scaled.
            Fit::Cover => format!(
                "crop=w='min(iw,ih*{w}/{h}/sar)':h='min(ih,iw*sar*{h}/{w})',\
                 scale={w}:{h}{colours},{tone_map}"
            ),
            Fit::Contain => format!(
                "scale=w='max(2,2*round(min({w},{h}*dar)/2))':\
                 h='max(2,2*round(min({h},{w}/dar)/2))'{colours},{tone_map}\
                 format=yuv420p,pad={w}:{h}:-1:-1:color=black,"
            ),
        };
        format!("{shaped}setsar=1,format=yuv420p")
    }

    fn colours(&self, source: &Stream) -> &'static str {
        let is_hd = source.height.is_some_and(|height| height >= HD_HEIGHT_PIXELS);
        match source.color_space.as_deref() {
            None | Some("unknown") if is_hd => {
                ":in_color_matrix=bt709:out_color_matrix=bt709:out_range=tv"
            }
            _ => ":out_color_matrix=bt709:out_range=tv",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filters(fit: Fit, fps: f64, source: &Stream, end: Option<&str>) -> String {
        let rate = Rate::of(fps).unwrap();
        Frame { width: 1080, height: 1920, fit, rate }.filters(source, None, end)
    }

    fn source(fps: f64) -> Stream {
        Stream { fps: Some(fps), height: Some(1080), ..Stream::default() }
    }

    #[test]
    fn a_picture_fills_the_frame_or_lies_within_it() {
        let cover = filters(Fit::Cover, 30.0, &source(30.0), None);
        assert!(
            cover.contains("crop=")
                && cover.contains("scale=1080:1920")
                && !cover.contains(",pad="),
            "{cover}"
        );
        let contain = filters(Fit::Contain, 30.0, &source(30.0), None);
        assert!(contain.contains("pad=1080:1920:-1:-1:color=black"), "{contain}");
        for filters in [cover, contain] {
            assert!(filters.contains("setsar=1,format=yuv420p"), "{filters}");
            assert!(filters.ends_with(COLOURS), "{filters}");
        }
    }

    #[test]
    fn what_leaves_less_to_do_comes_first() {
        for (from, to, slower_first) in [(60.0, 30.0, true), (25.0, 30.0, false)] {
            let filters = filters(Fit::Cover, to, &source(from), None);
            assert_eq!(filters.starts_with("fps=30/1"), slower_first, "{from} to {to}");
        }
    }

    #[test]
    fn captions_are_drawn_on_the_finished_frame() {
        let filters = filters(Fit::Cover, 30.0, &source(30.0), Some("ass=captions.ass"));
        assert!(filters.contains("stop_mode=clone,ass=captions.ass,setparams"), "{filters}");
    }

    #[test]
    fn colours_are_read_as_they_were_written() {
        for (transfer, space, height, tone_mapped, assumed) in [
            (Some("smpte2084"), Some("bt2020nc"), 2160, true, false),
            (Some("arib-std-b67"), Some("bt2020nc"), 1080, true, false),
            (Some("bt709"), Some("bt709"), 1080, false, false),
            (None, None, 1080, false, true),
            (None, None, 480, false, false),
            (None, Some("smpte170m"), 1080, false, false),
        ] {
            let source = Stream {
                color_transfer: transfer.map(str::to_owned),
                color_space: space.map(str::to_owned),
                height: Some(height),
                ..source(30.0)
            };
            let filters = filters(Fit::Contain, 30.0, &source, None);
            assert_eq!(filters.contains("tonemap"), tone_mapped, "{transfer:?}");
            assert_eq!(filters.contains("in_color_matrix=bt709"), assumed, "{space:?} {height}");
        }
    }
}
