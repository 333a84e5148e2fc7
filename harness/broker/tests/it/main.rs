//! The broker, seen by kafka-protocol's client side.

mod admin;
mod data;
mod groups;
mod hooks;
mod peer;
