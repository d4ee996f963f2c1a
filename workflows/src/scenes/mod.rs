//! Films of several scenes, each with its voice-over: what is planned is pure, each scene is
//! encoded once, and the parts are joined by copy.

mod captions;
mod frame;
mod join;
mod measure;
mod pair;
mod parts;
mod picture;
mod plan;
mod rate;
mod score;
mod sound;
mod timeline;

pub use captions::{Captioned, ChainCaptions, Chained, SceneCaptions};
pub use frame::Fit;
pub use join::{JoinScenes, Joined, Parts};
pub use measure::{MeasureScene, Scene};
pub use pair::{Pair, PairScenes, Paired, Unpaired};
pub use picture::{EncodePicture, Framing, Pictured};
pub use plan::{PlanScenes, Planned, Unplanned};
pub use score::{ScoreFilm, Scored, Sounds};
pub use sound::{MixSound, Sounded, Voiced};
pub use timeline::{Lasting, LastingAs, Lengths, Shot};
