//! The step kind `ffmpeg.thumbnail`.

use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::Run;
use super::still::{Moment, Still};
use crate::limits::{
    BEST_SAMPLE_COUNT, LAST_PICTURE_S, LATE_PICTURE_S, MAX_ASKED_WIDTH_PIXELS, MAX_SIDE_PIXELS,
    MIN_STILL_WIDTH_PIXELS, SEEK_MARGIN_S,
};
use crate::lower::fit;
use crate::media::{OpenMedia, Stream, input_args};
use crate::slots::Slots;

/// Takes one picture out of a film.
#[derive(Clone)]
pub struct Thumbnail {
    slots: Slots,
}

/// The input of `ffmpeg.thumbnail`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Glance {
    /// The video.
    pub video: Artifact,
    /// From when the picture is: `best`, seconds, a time such as `00:01:30`, or a share as `50%`.
    #[serde(default)]
    pub at: Moment,
    /// Its width in pixels; it is never larger than the film. `null` keeps the film's.
    #[serde(default)]
    #[schemars(range(min = 16, max = 3840))]
    pub width: Option<u32>,
    /// What it is written as.
    #[serde(default)]
    pub format: Still,
}

/// The output of `ffmpeg.thumbnail`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Glanced {
    /// The picture, named `thumbnail`.
    pub image: Artifact,
    /// From when it is, in seconds.
    pub at_s: f64,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

impl Thumbnail {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for Thumbnail {
    type Input = Glance;
    type Output = Glanced;

    fn kind(&self) -> String {
        "ffmpeg.thumbnail".to_owned()
    }

    fn description(&self) -> String {
        "Takes one picture out of a film: at a second, at a share, or the most telling one."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Glance, context: StepContext) -> StepResult<Glanced> {
        let most = MAX_ASKED_WIDTH_PIXELS;
        let bad = |width: &u32| !(MIN_STILL_WIDTH_PIXELS..=most).contains(width);
        if let Some(width) = input.width.filter(bad) {
            let message =
                format!("`width` is {width}, expected {MIN_STILL_WIDTH_PIXELS} to {most}");
            return Err(StepError::fatal("ffmpeg.input", message));
        }
        let media = OpenMedia::open(&input.video, &context).await?;
        let pictures = media.facts.video()?;
        let (width, height) = size(pictures, input.width)?;
        let camera = Camera { context: &context, slots: &self.slots, media: &media, pictures };
        let at_s = camera.find(input.at).await?;
        let name = format!("thumbnail.{}", input.format.extension());
        let to = std::path::absolute(context.work_dir()?)?.join(&name);
        let filter = format!("scale={width}:{height},setsar=1");
        camera.take(at_s, &filter, input.format, &to).await?;
        let image = context.put_file(to, &name, input.format.media_type()).await?;
        Ok(Glanced { image, at_s, width, height })
    }
}

/// The size of a picture that is as wide as asked, or as the film when that is less. Its pixels are
/// square, whatever those of the film are.
pub(super) fn size(pictures: &Stream, width: Option<u32>) -> StepResult<(u32, u32)> {
    let Some((wide, high)) = pictures.width.zip(pictures.height) else {
        return Err(StepError::fatal("media.no_video", "the film does not say how large it is"));
    };
    let shown = pictures.pixel_shape.map_or(wide, |shape| (f64::from(wide) * shape).round() as u32);
    Ok(fit((shown.max(2), high), (width, MAX_SIDE_PIXELS as u32)))
}

/// What takes pictures out of one film.
pub(super) struct Camera<'a> {
    pub(super) context: &'a StepContext,
    pub(super) slots: &'a Slots,
    pub(super) media: &'a OpenMedia,
    pub(super) pictures: &'a Stream,
}

impl Camera<'_> {
    /// The second that a moment means.
    async fn find(&self, at: Moment) -> StepResult<f64> {
        let length = self.pictures.end_s.or(self.media.facts.duration_s);
        match at {
            Moment::Second(at) => match self.media.facts.sure_s().filter(|length| at >= *length) {
                None => Ok(at),
                Some(length) => {
                    let message = format!("`at` is {at} s, the film ends at {length:.3} s");
                    let hint = "take an earlier second, a share such as `50%`, or `best`";
                    Err(StepError::fatal("ffmpeg.input", message).with_hint(hint))
                }
            },
            Moment::Percent(share) => match length {
                Some(length) => Ok(length * share / 100.0),
                None => {
                    let message = "the film does not say how long it is, so it has no shares";
                    let hint = "ask for a second, such as `12.5`, or for `best`";
                    Err(StepError::fatal("ffmpeg.input", message).with_hint(hint))
                }
            },
            Moment::Best => self.best(length.unwrap_or(0.0)).await,
        }
    }

    /// Looks at keyframes all over the film, in small, and gives the time of the one that is most
    /// like the others: neither black nor in the middle of a change.
    async fn best(&self, length_s: f64) -> StepResult<f64> {
        let apart = length_s / BEST_SAMPLE_COUNT as f64;
        let choose = format!(
            "select=isnan(prev_selected_t)+gte(t-prev_selected_t\\,{apart:.3}),\
             scale=160:-2:flags=fast_bilinear,thumbnail={BEST_SAMPLE_COUNT},showinfo"
        );
        let ended = Run::new(self.context, Some(length_s))
            .span(0.0, 90.0)
            // What does not decode is no candidate; ffmpeg would fail when much of it does not.
            .args(["-skip_frame", "nokey", "-max_error_rate", "1"])
            .args(input_args(&self.media.path))
            .args(["-map", &format!("0:{}", self.pictures.index), "-an", "-sn", "-dn"])
            .args(["-vf", &choose, "-frames:v", "1", "-fps_mode", "passthrough", "-f", "null"])
            .nowhere()
            .run(self.slots)
            .await?;
        // A film whose keyframes are not marked has its first picture taken.
        Ok(shown_at(&ended.said).unwrap_or(0.0))
    }

    /// Writes the picture that is shown at a second; behind the last one, that one.
    async fn take(&self, at_s: f64, filter: &str, still: Still, to: &Path) -> StepResult<()> {
        let at_s = self.pictures.end_s.map_or(at_s, |end| at_s.min(end));
        if self.first_from(at_s, filter, still, to).await?
            || self.last_until(at_s, filter, still, to).await?
        {
            return Ok(());
        }
        let message = format!("the film has no picture at {at_s:.3} s");
        Err(StepError::fatal("ffmpeg.no_picture", message)
            .with_hint("its pictures may end long before its sound; ask for an earlier one"))
    }

    /// Writes the first picture at a second or behind it; tells whether there is one.
    async fn first_from(
        &self,
        at_s: f64,
        filter: &str,
        still: Still,
        to: &Path,
    ) -> StepResult<bool> {
        if !self.media.facts.has_no_index() {
            let run = self.shoot(at_s, None, filter, still).args(["-frames:v", "1"]);
            run.output(to).run(self.slots).await?;
            return Ok(to.exists());
        }
        // Entered early, and where even that was behind the keyframe before it, from the start.
        for from_s in [(at_s - SEEK_MARGIN_S).max(0.0), 0.0] {
            let wait_s = at_s - from_s;
            let filter = format!("select=gte(t\\,{wait_s:.6}-0.000001),showinfo,{filter}");
            let run = self.shoot(from_s, None, &filter, still).args(["-frames:v", "1"]);
            let said = run.output(to).run(self.slots).await?.said;
            if shown_at(&said).is_some_and(|shown_s| shown_s < wait_s + LATE_PICTURE_S) {
                break;
            }
        }
        Ok(to.exists())
    }

    /// Writes the last picture before a second; tells whether there is one.
    async fn last_until(
        &self,
        at_s: f64,
        filter: &str,
        still: Still,
        to: &Path,
    ) -> StepResult<bool> {
        let from_s = match self.media.facts.has_no_index() {
            true => 0.0,
            false => (at_s - LAST_PICTURE_S).max(0.0),
        };
        let run = self.shoot(from_s, Some(at_s - from_s), filter, still);
        run.output(to).run(self.slots).await?;
        Ok(to.exists())
    }

    fn shoot(&self, from_s: f64, length_s: Option<f64>, filter: &str, still: Still) -> Run {
        let mut run = Run::new(self.context, None);
        for (name, value) in [("-ss", Some(from_s).filter(|from| *from > 0.0)), ("-t", length_s)] {
            if let Some(value) = value {
                run = run.args([name, &format!("{value:.6}")]);
            }
        }
        run.args(input_args(&self.media.path))
            .args(["-map", &format!("0:{}", self.pictures.index), "-an", "-sn", "-dn"])
            .args(["-vf", filter])
            .args(still.args())
            .args(["-update", "1"])
    }
}

/// When the last picture that `showinfo` told of is shown.
fn shown_at(said: &[String]) -> Option<f64> {
    let told = said.iter().rev().find(|line| line.contains("Parsed_showinfo"))?;
    let at = |line: &str| line.split("pts_time:").nth(1)?.split_whitespace().next()?.parse().ok();
    at(told).or_else(|| said.iter().rev().find_map(|line| at(line)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_chosen_picture_is_read() {
        let said = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let line = "[Parsed_showinfo_3 @ 0x55] [info] n:   0 pts:  25600 pts_time:2       pos: 1";
        let more = "[Parsed_showinfo_3 @ 0x55] [info] color_range:tv\nframe=    1 fps=0.0";
        assert_eq!(shown_at(&said(&format!("{line}\n{more}"))), Some(2.0));
        assert_eq!(shown_at(&said("title: pts_time:9\n")), None);
        assert_eq!(shown_at(&[]), None);
    }

    #[test]
    fn a_picture_is_never_larger_than_its_film() {
        let film = Stream { width: Some(640), height: Some(360), ..Stream::default() };
        for (width, expected) in
            [(None, (640, 360)), (Some(320), (320, 180)), (Some(1_920), (640, 360))]
        {
            assert_eq!(size(&film, width).unwrap(), expected);
        }
        assert!(size(&Stream::default(), None).is_err());
        let wide = Stream { pixel_shape: Some(64.0 / 45.0), ..Stream { width: Some(720), ..film } };
        let wide = Stream { height: Some(576), ..wide };
        assert_eq!(size(&wide, None).unwrap(), (1_024, 576));
        assert_eq!(size(&wide, Some(512)).unwrap(), (512, 288));
    }
}
