//! Where belief and product meet: replay, validation and the evenkeel command.

pub mod command;
pub mod questions;
pub mod replay;
mod table;
pub mod validate;
