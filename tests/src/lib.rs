//! The meetings of evenkeel's parts, run in CI, and the peers they need: Apache Kafka
//! ([`kafka`]), other people's clients ([`foreign`]), a plain wire client ([`wire`]).
//!
//! A peer that cannot be had on this machine is a [`setup::SetupError::Missing`]: a test reports
//! itself as ignored with that reason, and fails where `CI=true`.

pub mod api;
pub mod foreign;
pub mod kafka;
pub mod ledger;
pub mod member;
pub mod process;
pub mod setup;
pub mod sockets;
pub mod tags;
pub mod validated;
pub mod wire;
pub mod workspace;
