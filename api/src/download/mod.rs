//! How a stored file is handed out: which part of it, under which name, as which type.

mod condition;
mod content;
mod disposition;
mod media_type;

pub(crate) use condition::{Asked, asked};
pub(crate) use content::{part, whole};
pub(crate) use disposition::{Disposition, disposition, plain};
pub(crate) use media_type::{can_be_shown, media_type};
