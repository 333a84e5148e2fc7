//! The shipped machines of both ends of the group protocol under an adversary.
//!
//! [`system`] is a small world: real members (`evenkeel-core`), a real coordinator
//! (`evenkeel-coordinator`), a connection each, an application each, and an adversary with a budget.
//! [`requests`] and [`turn`] are smaller worlds: the desk of one consumer's requests, and whose turn it is.
//! [`bounds`] says how small and why. [`explore`] visits every state that it can reach, and judges
//! each transition by spec's rules. `mutants` (cargo feature `mutants`) seeds faults and demands that
//! the right rule finds each. Not decided here: what is right (`evenkeel-spec`) and what the machines do.

pub mod bounds;
pub mod explore;
pub mod judged;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod positions;
pub mod profiles;
pub mod report;
pub mod requests;
pub mod system;
pub mod turn;
