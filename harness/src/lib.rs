//! Where belief and product meet: replay, validation, and the questions that both answer.

pub mod questions;
pub mod replay;
pub mod story;
pub mod table;
pub mod validate;
