//! Where belief and product meet: replay, validation and the evenkeel command.

pub mod command;
pub mod replay;
pub mod validate;
