//! The step kind `ffmpeg.contact_sheet`.

use std::path::{Path, PathBuf};

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::Run;
use super::still::Still;
use super::thumbnail::size;
use crate::limits::{
    MAX_PICTURE_PIXELS, MAX_SHEET_SIDE_COUNT, MAX_SIDE_PIXELS, MAX_TILE_WIDTH_PIXELS,
    MIN_TILE_WIDTH_PIXELS, SEEK_PAYS_S,
};
use crate::media::{OpenMedia, StreamKind, input_args};
use crate::slots::Slots;

/// Lays pictures from all over a film side by side.
#[derive(Clone)]
pub struct ContactSheet {
    slots: Slots,
}

/// The input of `ffmpeg.contact_sheet`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The video.
    pub video: Artifact,
    /// Pictures below each other.
    #[serde(default = "default_side")]
    #[schemars(range(min = 1, max = 12))]
    pub rows: u32,
    /// Pictures beside each other.
    #[serde(default = "default_side")]
    #[schemars(range(min = 1, max = 12))]
    pub columns: u32,
    /// Width of each picture in pixels; it is never larger than the film.
    #[serde(default = "default_tile_width")]
    #[schemars(range(min = 32, max = 1920))]
    pub tile_width: u32,
    /// Whether each picture says when it is.
    #[serde(default = "default_timestamps")]
    pub timestamps: bool,
    /// What the sheet is written as.
    #[serde(default)]
    pub format: Still,
}

fn default_side() -> u32 {
    4
}

fn default_tile_width() -> u32 {
    320
}

fn default_timestamps() -> bool {
    true
}

/// The output of `ffmpeg.contact_sheet`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Sheeted {
    /// The sheet, named `contact-sheet`.
    pub image: Artifact,
    /// The seconds that the pictures are from, row by row.
    pub at_s: Vec<f64>,
    /// Width of the sheet in pixels.
    pub width: u32,
    /// Height of the sheet in pixels.
    pub height: u32,
}

impl ContactSheet {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for ContactSheet {
    type Input = Sheet;
    type Output = Sheeted;

    fn kind(&self) -> String {
        "ffmpeg.contact_sheet".to_owned()
    }

    fn description(&self) -> String {
        "Lays pictures from all over a film side by side, each with its time.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Sheet, context: StepContext) -> StepResult<Sheeted> {
        input.check()?;
        let media = OpenMedia::open(&input.video, &context).await?;
        let layout = Layout::of(&input, &media)?;
        let name = format!("contact-sheet.{}", input.format.extension());
        let work = std::path::absolute(context.work_dir()?)?;
        let to = work.join(&name);
        let printer = Printer {
            context: &context,
            slots: &self.slots,
            path: &media.path,
            work: &work,
            layout,
        };
        let sought = printer.layout.seeking_pays() && printer.seek(input.format, &to).await?;
        if !sought {
            printer.decode(input.format, &to).await?;
        }
        if !to.exists() {
            return Err(StepError::fatal("ffmpeg.no_picture", "the film has no pictures to show"));
        }
        let Layout { width, height, at_s, .. } = printer.layout;
        let (width, height) = (width * input.columns, height * input.rows);
        let image = context.put_file(to, &name, input.format.media_type()).await?;
        Ok(Sheeted { image, at_s, width, height })
    }
}

impl Sheet {
    fn check(&self) -> StepResult<()> {
        for (field, value, least, most) in [
            ("rows", self.rows, 1, MAX_SHEET_SIDE_COUNT),
            ("columns", self.columns, 1, MAX_SHEET_SIDE_COUNT),
            ("tile_width", self.tile_width, MIN_TILE_WIDTH_PIXELS, MAX_TILE_WIDTH_PIXELS),
        ] {
            if !(least..=most).contains(&value) {
                let message = format!("`{field}` is {value}, expected {least} to {most}");
                return Err(StepError::fatal("ffmpeg.input", message));
            }
        }
        Ok(())
    }
}

/// What stands where.
#[derive(Clone, Debug, PartialEq)]
struct Layout {
    stream: u32,
    columns: u32,
    rows: u32,
    /// The size of one picture.
    width: u32,
    height: u32,
    length_s: f64,
    /// From when each is: the middle of its share of the film.
    at_s: Vec<f64>,
    /// What each says; nothing when they say nothing.
    labels: Vec<String>,
}

impl Layout {
    fn of(input: &Sheet, media: &OpenMedia) -> StepResult<Self> {
        let pictures = media.facts.first(StreamKind::Video);
        let pictures = pictures.map_or_else(|| media.facts.video(), Ok)?;
        let (width, height) = size(pictures, Some(input.tile_width))?;
        let (wide, high) = (width * input.columns, height * input.rows);
        if u64::from(wide) * u64::from(high) > MAX_PICTURE_PIXELS
            || wide.max(high) as usize >= MAX_SIDE_PIXELS
        {
            let message = format!("the sheet would have {wide}x{high} pixels, too many");
            return Err(StepError::fatal("ffmpeg.input", message)
                .with_hint("ask for fewer or smaller pictures"));
        }
        let length_s = pictures.end_s.or(media.facts.duration_s).unwrap_or(0.0);
        if length_s <= 0.0 {
            let message = "the film does not say how long it is";
            return Err(StepError::fatal("ffmpeg.no_picture", message)
                .with_hint("`convert` it into the container that it has, then it does"));
        }
        let count = input.rows * input.columns;
        let step_s = length_s / f64::from(count);
        // None is looked for behind where the last one begins.
        let last_s = (length_s - pictures.fps.map_or(0.0, f64::recip)).max(0.0);
        let middle = |n| (f64::from(n) + 0.5) * step_s;
        let at_s: Vec<f64> = (0..count).map(|n| middle(n).min(last_s)).collect();
        let said = at_s.iter().map(|at| label(*at, length_s, step_s));
        let labels = if input.timestamps { said.collect() } else { Vec::new() };
        let (stream, columns, rows) = (pictures.index, input.columns, input.rows);
        Ok(Self { stream, columns, rows, width, height, length_s, at_s, labels })
    }

    /// Whether it is less work to seek each picture than to decode all of the film.
    fn seeking_pays(&self) -> bool {
        self.length_s > SEEK_PAYS_S * self.at_s.len() as f64
    }

    /// The filters of one picture.
    fn tile(&self, n: usize) -> String {
        let scale = format!("scale={}:{},setsar=1", self.width, self.height);
        self.labels.get(n).map_or(scale.clone(), |said| format!("{scale},{}", self.drawn(said)))
    }

    /// Draws a time: digits, colons and points of our own.
    fn drawn(&self, said: &str) -> String {
        let (size, said) = ((self.width / 18).max(10), said.replace(':', "\\:"));
        format!(
            "drawtext=text='{said}':fontsize={size}:fontcolor=white:box=1:boxcolor=black@0.6:\
             boxborderw=3:x=6:y=h-th-6"
        )
    }

    /// The filters that take all pictures out of one decode.
    fn picked(&self) -> String {
        let (first, step) = (self.at_s[0], self.length_s / self.at_s.len() as f64);
        let slot = |at: &str| format!("floor(({at}-{first:.6})/{step:.6}+0.000001)");
        let mut filters = format!(
            "select=gte(t\\,{first:.6}-0.000001)*(isnan(prev_selected_t)+gt({}\\,{})),scale={}:{},\
             setsar=1",
            slot("t"),
            slot("prev_selected_t"),
            self.width,
            self.height,
        );
        for (n, said) in self.labels.iter().enumerate() {
            filters.push_str(&format!(",{}:enable=eq(n\\,{n})", self.drawn(said)));
        }
        format!("{filters},tile={}x{}", self.columns, self.rows)
    }
}

/// A time as people read it; tenths where seconds would say the same twice.
fn label(at_s: f64, length_s: f64, step_s: f64) -> String {
    let tenths = (at_s * 10.0).floor() as u64;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let hours = if length_s >= 3_600.0 { format!("{hours}:") } else { String::new() };
    let tenth = if step_s < 1.0 { format!(".{tenth}") } else { String::new() };
    format!("{hours}{minutes:02}:{seconds:02}{tenth}")
}

/// What makes one sheet.
struct Printer<'a> {
    context: &'a StepContext,
    slots: &'a Slots,
    path: &'a Path,
    work: &'a Path,
    layout: Layout,
}

impl Printer<'_> {
    /// Seeks each picture, row by row; tells whether all were found.
    async fn seek(&self, still: Still, to: &Path) -> StepResult<bool> {
        let columns = self.layout.columns as usize;
        let mut rows = Vec::new();
        for (row, times) in self.layout.at_s.chunks(columns).enumerate() {
            let file = self.work.join(format!("row-{row}.png"));
            self.seek_row(row * columns, times, &file).await?;
            if !file.exists() {
                return Ok(false);
            }
            rows.push(file);
        }
        self.stack(&rows, still, to).await?;
        Ok(true)
    }

    async fn seek_row(&self, first: usize, times: &[f64], to: &Path) -> StepResult<()> {
        let count = f64::from(self.layout.rows * self.layout.columns);
        let share = |n: usize| n as f64 * 95.0 / count;
        let mut run = Run::new(self.context, None).span(share(first), share(first + times.len()));
        let mut graph = String::new();
        for (n, at) in times.iter().enumerate() {
            run = run.args(["-ss", &format!("{at:.6}")]).args(input_args(self.path));
            let (stream, tile) = (self.layout.stream, self.layout.tile(first + n));
            graph.push_str(&format!("[{n}:{stream}]{tile}[t{n}];"));
        }
        let tiles: String = (0..times.len()).map(|n| format!("[t{n}]")).collect();
        let joined = if times.len() > 1 {
            format!("hstack=inputs={}", times.len())
        } else {
            "null".to_owned()
        };
        run.args(["-filter_complex", &format!("{graph}{tiles}{joined}[row]"), "-map", "[row]"])
            .args(["-frames:v", "1"])
            .args(Still::Png.args())
            .args(["-update", "1"])
            .output(to)
            .run(self.slots)
            .await?;
        Ok(())
    }

    async fn stack(&self, rows: &[PathBuf], still: Still, to: &Path) -> StepResult<()> {
        let mut run = Run::new(self.context, None).span(95.0, 100.0);
        for row in rows {
            let name = format!("file:{}", row.display());
            run = run.args(["-protocol_whitelist", "file", "-f", "png_pipe", "-i", &name]);
        }
        if rows.len() > 1 {
            run = run.args(["-filter_complex", &format!("vstack=inputs={}", rows.len())]);
        }
        run.args(["-frames:v", "1"])
            .args(still.args())
            .args(["-update", "1"])
            .output(to)
            .run(self.slots)
            .await?;
        Ok(())
    }

    /// Takes all pictures out of one decode.
    async fn decode(&self, still: Still, to: &Path) -> StepResult<()> {
        Run::new(self.context, Some(self.layout.length_s))
            .args(input_args(self.path))
            .args(["-map", &format!("0:{}", self.layout.stream), "-an", "-sn", "-dn"])
            .args(["-vf", &self.layout.picked(), "-frames:v", "1", "-fps_mode", "passthrough"])
            .args(still.args())
            .args(["-update", "1"])
            .output(to)
            .run(self.slots)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::media::{Facts, Stream};

    fn film(length_s: f64) -> OpenMedia {
        let (width, height, kind) = (Some(640), Some(360), StreamKind::Video);
        let stream = Stream { kind, width, height, end_s: Some(length_s), ..Stream::default() };
        let facts = Facts { streams: vec![stream], ..Facts::default() };
        OpenMedia { path: PathBuf::from("/a"), facts }
    }

    fn sheet(fields: serde_json::Value) -> Sheet {
        let file = json!({ "artifact": "0".repeat(64), "name": "a", "media_type": "b", "size": 1 });
        let mut input = json!({ "video": file });
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(input).unwrap()
    }

    #[test]
    fn each_picture_is_from_the_middle_of_its_share() {
        let layout = Layout::of(&sheet(json!({ "rows": 2, "columns": 2 })), &film(8.0)).unwrap();
        assert_eq!(layout.at_s, [1.0, 3.0, 5.0, 7.0]);
        assert_eq!((layout.width, layout.height), (320, 180));
        assert_eq!(layout.labels, ["00:01", "00:03", "00:05", "00:07"]);
        let silent = sheet(json!({ "timestamps": false }));
        let layout = Layout::of(&silent, &film(8.0)).unwrap();
        assert!(!layout.picked().contains("drawtext") && !layout.tile(0).contains("drawtext"));
    }

    #[test]
    fn short_films_are_decoded_and_long_ones_sought() {
        for (length_s, sought) in [(8.0, false), (600.0, true)] {
            let layout = Layout::of(&sheet(json!({})), &film(length_s)).unwrap();
            assert_eq!(layout.seeking_pays(), sought, "{length_s}");
        }
    }

    #[test]
    fn times_are_said_as_exactly_as_needed() {
        for (at_s, length_s, step_s, expected) in [
            (1.25, 8.0, 0.5, "00:01.2"),
            (75.9, 600.0, 10.0, "01:15"),
            (3_675.0, 7_200.0, 100.0, "1:01:15"),
            (75.0, 7_200.0, 100.0, "0:01:15"),
        ] {
            assert_eq!(label(at_s, length_s, step_s), expected);
        }
    }

    #[test]
    fn sheets_that_are_too_large_are_refused() {
        for (fields, named) in [
            (json!({ "rows": 0 }), "rows"),
            (json!({ "columns": 13 }), "columns"),
            (json!({ "tile_width": 31 }), "tile_width"),
        ] {
            let refused = sheet(fields).check().unwrap_err();
            assert!(refused.0.message.contains(named), "{}", refused.0.message);
        }
        let mut large = film(8.0);
        (large.facts.streams[0].width, large.facts.streams[0].height) = (Some(1_920), Some(1_080));
        let input = sheet(json!({ "rows": 12, "columns": 12, "tile_width": 1_920 }));
        assert_eq!(Layout::of(&input, &large).unwrap_err().0.code, "ffmpeg.input");
        assert!(Layout::of(&sheet(json!({})), &film(0.0)).is_err());
    }
}
