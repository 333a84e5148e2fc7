//! What waits for one connection: which request goes out next, and which need not go out at all.
//!
//! Decides the order of the lanes, and that an idempotent request which one *not yet sent* answers
//! as well is attached to that one (bulking). Not decided here: whether the connection may send.
//! spec/10-requests.md.

use super::{Kind, Mutant};
use std::collections::VecDeque;
use std::fmt::Debug;

/// Which requests go first on a connection (Q1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Lane {
    /// What keeps the consumer in its group and its metadata true: before everything else.
    System,
    /// What the application asked for.
    User,
    /// `Fetch`: last, since a broker parks it and answers nothing else of the connection meanwhile.
    Records,
}

impl Lane {
    /// Every lane, the first first.
    pub const ALL: [Self; 3] = [Self::System, Self::User, Self::Records];

    /// As it is called in spans and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Records => "records",
        }
    }
}

/// What can be asked of a broker, as far as the queue must know it.
pub trait Question: Clone + Debug + Eq {
    /// Whether the answer to `self` answers `other` as well: both are idempotent, and `other` is
    /// equal to it or contained in it.
    fn covers(&self, other: &Self) -> bool;

    /// What it says in the group's name.
    fn word(&self) -> Word;

    /// As what it is counted.
    fn kind(&self) -> Kind;
}

/// What a request says about its sender's place in the group, as far as the order of requests
/// matters (N1, Q9).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Word {
    /// Nothing.
    #[default]
    Nothing,
    /// What was read: an OffsetCommit.
    Commit,
    /// That it is there: a heartbeat.
    Presence,
    /// What it owns: a heartbeat that may end the ownership that a commit was for.
    Owned,
    /// That it leaves.
    Leave,
}

/// A request that was not sent yet, and who waits for its answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Waiting<Q, A> {
    /// What to ask.
    pub question: Q,
    /// The first asked; the others were attached. Never none.
    pub askers: Vec<A>,
}

/// The requests that wait for one connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Queue<Q, A> {
    lanes: [VecDeque<Waiting<Q, A>>; 3],
}

impl<Q, A> Default for Queue<Q, A> {
    fn default() -> Self {
        Self { lanes: [VecDeque::new(), VecDeque::new(), VecDeque::new()] }
    }
}

impl<Q: Question, A> Queue<Q, A> {
    /// Puts a request at the end of its lane, or attaches it to one that answers it too (Q5). What
    /// the system waits for does not stay in a later lane.
    pub fn push(&mut self, lane: Lane, question: Q, askers: Vec<A>, mutant: Option<Mutant>) {
        let lane = if Mutant::OneLane.is(mutant) { Lane::User } else { lane };
        for older in Lane::ALL {
            let covered = |waiting: &Waiting<Q, A>| {
                waiting.question.covers(&question)
                    || Mutant::AttachToSmaller.is(mutant) && question.covers(&waiting.question)
            };
            let Some(place) = self.lanes[older as usize].iter().position(covered) else { continue };
            if older <= lane || Mutant::AttachWithoutPromotion.is(mutant) {
                self.lanes[older as usize][place].askers.extend(askers);
            } else if let Some(mut waiting) = self.lanes[older as usize].remove(place) {
                waiting.askers.extend(askers);
                self.lanes[lane as usize].push_back(waiting);
            }
            return;
        }
        self.lanes[lane as usize].push_back(Waiting { question, askers });
    }

    /// Puts a request that was taken out of another queue at the end of a lane.
    pub fn put(&mut self, lane: Lane, waiting: Waiting<Q, A>) {
        self.lanes[lane as usize].push_back(waiting);
    }

    /// The request that goes out next, if `may` lets its lane send.
    pub fn pop(&mut self, may: impl Fn(Lane) -> bool) -> Option<(Lane, Waiting<Q, A>)> {
        let lane = Lane::ALL.into_iter().find(|lane| may(*lane) && self.has(*lane))?;
        Some((lane, self.lanes[lane as usize].pop_front()?))
    }

    /// Whether something waits in this lane.
    #[must_use]
    pub fn has(&self, lane: Lane) -> bool {
        !self.lanes[lane as usize].is_empty()
    }

    /// How many requests wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes these askers out; a request that nobody waits for any more is withdrawn (Q6).
    pub fn withdraw(&mut self, is_gone: impl Fn(&A) -> bool, mutant: Option<Mutant>) -> Vec<A> {
        let mut gone = Vec::new();
        for lane in &mut self.lanes {
            if !lane.iter().any(|waiting| waiting.askers.iter().any(&is_gone)) {
                continue;
            }
            for mut waiting in std::mem::take(lane) {
                let (mut left, stay): (Vec<_>, _) = waiting.askers.into_iter().partition(&is_gone);
                let is_hit = !left.is_empty();
                gone.append(&mut left);
                waiting.askers = stay;
                let takes_all = Mutant::OneCancelsAll.is(mutant) && is_hit;
                if !waiting.askers.is_empty() && !takes_all {
                    lane.push_back(waiting);
                }
            }
        }
        gone
    }

    /// Takes the requests out that `chosen` names, in their order.
    pub fn take(&mut self, chosen: impl Fn(Lane, &Q) -> bool) -> Vec<Waiting<Q, A>> {
        let mut taken = Vec::new();
        for (of, lane) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            for waiting in std::mem::take(lane) {
                if chosen(of, &waiting.question) {
                    taken.push(waiting);
                } else {
                    lane.push_back(waiting);
                }
            }
        }
        taken
    }

    /// Everything that waits, lane by lane.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, &Waiting<Q, A>)> {
        Lane::ALL
            .into_iter()
            .flat_map(|lane| self.lanes[lane as usize].iter().map(move |w| (lane, w)))
    }

    /// The same, to rename who asked.
    pub fn askers_mut(&mut self) -> impl Iterator<Item = &mut A> {
        self.lanes.iter_mut().flatten().flat_map(|waiting| &mut waiting.askers)
    }

    /// Empties it.
    pub fn drain(&mut self) -> impl Iterator<Item = A> {
        self.lanes.iter_mut().flat_map(|lane| lane.drain(..)).flat_map(|waiting| waiting.askers)
    }
}

#[cfg(test)]
mod tests;
