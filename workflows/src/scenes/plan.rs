//! The step kind `scenes.plan`: the timeline of the joined film.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rate::Rate;
use super::timeline::{Lasting, LastingAs, Lengths, Shot, timeline};
use crate::limits::{
    MAX_DURATION_S, MAX_FILM_FRAMES_PER_SECOND, MAX_SCENE_S, MIN_FILM_FRAMES_PER_SECOND,
    MIN_SCENE_S,
};

/// Plans the film: how many pictures and samples each scene has, and when it begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanScenes;

/// The input of `scenes.plan`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unplanned {
    /// The scenes' lengths in their order, as `scenes.measure` gives them.
    pub scenes: Vec<Lengths>,
    /// Pictures a second, 1 to 120; 29.97 and its like mean what television counts.
    #[serde(default = "default_fps")]
    #[schemars(range(min = 1.0, max = 120.0))]
    pub fps: f64,
    /// What a scene lasts as long as: `scene`, `voice`, `longest`, or seconds, 0.1 to 3600.
    #[serde(default = "default_lasting")]
    pub scene_length: Lasting,
}

pub(super) fn default_fps() -> f64 {
    30.0
}

fn default_lasting() -> Lasting {
    Lasting::As(LastingAs::Voice)
}

/// The output of `scenes.plan`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Planned {
    /// The scenes' places in the film.
    pub shots: Vec<Shot>,
    /// How many pictures the film has.
    pub frames: u64,
    /// How long it is in seconds.
    pub duration_s: f64,
}

impl Step for PlanScenes {
    type Input = Unplanned;
    type Output = Planned;

    fn kind(&self) -> String {
        "scenes.plan".to_owned()
    }

    fn description(&self) -> String {
        "Plans a film of scenes: whole pictures and samples, and where each begins.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: Unplanned, _: StepContext) -> StepResult<Planned> {
        plan(&input)
    }
}

fn plan(input: &Unplanned) -> StepResult<Planned> {
    let rate = rate(input.fps)?;
    if let Lasting::Seconds(seconds) = input.scene_length
        && !(MIN_SCENE_S..=MAX_SCENE_S).contains(&seconds)
    {
        let message =
            format!("`scene_length` is {seconds}, expected {MIN_SCENE_S} to {MAX_SCENE_S}");
        return Err(StepError::fatal("merge.input", message));
    }
    let lengths: Vec<f64> = input.scenes.iter().map(|it| input.scene_length.of(*it)).collect();
    let total_s: f64 = lengths.iter().sum();
    if !lengths.iter().all(|seconds| *seconds > 0.0) {
        return Err(StepError::fatal("merge.input", "a scene has no length"));
    }
    if total_s > MAX_DURATION_S {
        let message = format!("the film would last {total_s:.0} s, over {MAX_DURATION_S:.0} s");
        return Err(StepError::fatal("merge.input", message));
    }
    let shots = timeline(lengths, rate);
    let frames = shots.iter().map(|shot| shot.frames).sum();
    Ok(Planned { shots, frames, duration_s: rate.seconds(frames) })
}

/// The rate that was asked for.
///
/// # Errors
/// `merge.input` when it is out of bounds.
pub(super) fn rate(fps: f64) -> StepResult<Rate> {
    Rate::of(fps).ok_or_else(|| {
        let (least, most) = (MIN_FILM_FRAMES_PER_SECOND, MAX_FILM_FRAMES_PER_SECOND);
        let message = format!("`fps` is {fps}, expected {least} to {most}");
        StepError::fatal("merge.input", message)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn planned(fields: Value) -> StepResult<Planned> {
        let lengths = json!([{ "scene_s": 2.0, "voice_s": 3.01 }, { "scene_s": 4, "voice_s": 1 }]);
        let mut input = json!({ "scenes": lengths });
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        plan(&serde_json::from_value(input).unwrap())
    }

    #[test]
    fn the_film_is_as_long_as_its_scenes() {
        for (fields, frames, duration_s) in [
            (json!({}), 120, 4.0),
            (json!({ "scene_length": "scene" }), 180, 6.0),
            (json!({ "scene_length": "longest", "fps": 25 }), 175, 7.0),
            (json!({ "scene_length": 1.5 }), 90, 3.0),
        ] {
            let planned = planned(fields.clone()).unwrap();
            assert_eq!((planned.frames, planned.duration_s), (frames, duration_s), "{fields}");
            assert_eq!(planned.shots.len(), 2);
        }
    }

    #[test]
    fn what_cannot_be_planned_is_refused_by_name() {
        for (fields, named) in [
            (json!({ "fps": 0 }), "`fps`"),
            (json!({ "fps": 240 }), "`fps`"),
            (json!({ "scene_length": 0 }), "`scene_length`"),
            (json!({ "scene_length": 3_601 }), "`scene_length`"),
            (json!({ "scenes": [{ "scene_s": 1, "voice_s": 90_000 }] }), "90000 s"),
            (json!({ "scenes": [{ "scene_s": 1, "voice_s": 0 }] }), "no length"),
        ] {
            let StepError(failure) = planned(fields.clone()).unwrap_err();
            assert_eq!(failure.code, "merge.input");
            assert!(failure.message.contains(named), "{fields}: {}", failure.message);
        }
    }
}
