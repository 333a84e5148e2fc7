//! The group coordinator of KIP-848, sans-IO, untimed and event-sourced.
//!
//! A [`Group`] is one consumer group. A request or a timer yields a [`Step`]: the [`Record`]s that
//! were appended (and applied), the timers to arm or disarm, and the answer. State is what replaying
//! the records gives; what Kafka too keeps in memory only is named at [`Group::loaded`].
//!
//! It answers as Apache Kafka 4.3.1 does (`GroupMetadataManager`, `ConsumerGroup`,
//! `CurrentAssignmentBuilder`, `OffsetMetadataManager`), for dynamic members that subscribe by name.
//! Out of scope, since spec has no words for them: static members (KIP-345), subscription by
//! regular expression, classic members, transactions, racks.

#[macro_use]
mod mutant;

mod assignor;
mod config;
mod current_assignment;
mod describe;
mod eviction;
mod group;
mod heartbeat;
mod offsets;
mod record;
mod target;
mod timers;

pub use config::Config;
pub use current_assignment::{CurrentAssignment, MemberState, Reconciliation};
pub use describe::{Description, GroupState, MemberDescription};
pub use group::{Group, MemberMetadata};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use record::{Record, RecordKey};
pub use target::MemberSpec;
pub use timers::{Order, Timer};

pub use assignor::assign;

/// What one request or timer did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step<A> {
    /// What was appended to the log, in order; already applied to the group. One step's records are
    /// written together or not at all.
    pub records: Vec<Record>,
    /// Which timers to arm or disarm, in order.
    pub orders: Vec<Order>,
    /// The answer.
    pub answer: A,
}

impl<A> Step<A> {
    /// Nothing but an answer.
    pub(crate) fn answered(answer: A) -> Self {
        Self { records: Vec::new(), orders: Vec::new(), answer }
    }

    /// The same step with another answer.
    pub(crate) fn with_answer<B>(self, answer: B) -> Step<B> {
        Step { records: self.records, orders: self.orders, answer }
    }
}
