//! What an onlooker may see happen in a group: who may be granted, hold, return and commit what.
//!
//! The rules know no message, no timer and no state of ours. [`World`] is what can be seen at one
//! moment: the coordinator's records, and what each application has been given. [`World::permits`]
//! says whether one step may lead from one moment to the next. [`Conduct`] is one consumer's
//! behaviour, event by event. Each rule is a [`Rule`]; its sentence stands in the chapters.

mod conduct;
pub mod reading;
pub mod requests;
mod violation;
mod world;

pub use conduct::{Conduct, Event, Said, Standing, Told};
pub use violation::{Rule, Violation};
pub use world::{Grant, World};
