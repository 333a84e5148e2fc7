//! The broker, seen by kafka-protocol's client side.

mod data;
mod groups;
mod hooks;
mod peer;
