//! The questions of the design thread "Consumer threading model refactor", answered by running.
//!
//! Each is a file with one function. Where the answer is a number, it comes from the shipped machines
//! in virtual time against a scripted broker; where it is a rule, from the model: the slice is
//! explored with the other choice seeded into the machine. The order of the lanes is a parameter of
//! all of them, so that what depends on it is known. Snapshots: spec/questions.

mod answer;
mod bounded;
mod broker;
mod bulking;
mod connections;
mod excerpt;
mod lanes;
mod model;
mod owed;
mod revocation;
mod states;
#[cfg(test)]
mod tests;
mod timed_out;
mod undrained;
mod world;

pub use answer::{Answer, Cell, Curve, Figures, Trace, percentile};

use evenkeel_core::Config;
use evenkeel_core::request::Mutant;

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is asked.
    pub asked: &'static str,
    answer: fn(Order) -> Findings,
}

/// In which order requests go out on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// As shipped: what the system needs first.
    Lanes,
    /// Another choice: as they were asked for, as in Kafka's consumer.
    Fifo,
}

/// What a question's function finds out.
#[derive(Debug)]
struct Findings {
    verdict: String,
    world: String,
    figures: Figures,
    traces: Vec<Trace>,
    curve: Option<Curve>,
}

/// Every question.
pub const QUESTIONS: &[Question] = &[
    Question {
        name: "lanes",
        asked: "System requests first, or one FIFO? The wait of a heartbeat and evictions against \
                the load of the application.",
        answer: lanes::answer,
    },
    Question {
        name: "queue",
        asked: "A bounded queue, an unbounded queue, or a buffer in the application?",
        answer: bounded::answer,
    },
    Question {
        name: "undrained",
        asked: "What if the application does not drain what the background has for it?",
        answer: undrained::answer,
    },
    Question {
        name: "timed-out",
        asked: "Send what has already timed out?",
        answer: timed_out::answer,
    },
    Question {
        name: "connections",
        asked: "One connection or two, with and without throttling?",
        answer: connections::answer,
    },
    Question { name: "bulking", asked: "How much does bulking save?", answer: bulking::answer },
    Question {
        name: "states",
        asked: "Are all the rebalance states needed? Each left out in turn.",
        answer: states::answer,
    },
    Question {
        name: "revocation-commit",
        asked: "The automatic commit before the revoked callback, or after it (KAFKA-14224)?",
        answer: revocation::answer,
    },
    Question {
        name: "owed-callback",
        asked: "Is the revoked callback still owed when the subscription changed first, or should a \
                subscribe be refused while a revocation runs?",
        answer: owed::answer,
    },
];

impl Question {
    /// The question of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        QUESTIONS.iter().find(|question| question.name == name).copied()
    }

    /// Runs what answers it, with requests in this order.
    #[must_use]
    pub fn answer(&self, order: Order) -> Answer {
        let Findings { verdict, world, figures, traces, curve } = (self.answer)(order);
        let Self { name, asked, .. } = *self;
        Answer { name, asked, verdict, world, figures, seed: SEED, traces, curve }
    }
}

impl Order {
    /// A consumer of the only broker, with this order and otherwise Kafka's defaults.
    fn config(self) -> Config {
        let mut config = Config::new(vec![world::address()]);
        config.jitter_seed = SEED;
        config.requests_mutant = (self == Self::Fifo).then_some(Mutant::OneLane);
        config
    }
}

const SEED: u64 = 848;
