//! One consumer's behaviour: what it says to the coordinator and to its application.

mod given;

use super::Rule;
use crate::words::{
    Committed, Epoch, Heartbeat, HeartbeatEpoch, MemberId, Offset, Partitions, TopicIdPartition,
};
use given::Given;
use std::collections::BTreeMap;

/// What can be seen of one consumer.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Conduct {
    /// The member id of its latest heartbeat.
    pub id: Option<MemberId>,
    /// What its application holds: given, and not let go of.
    pub held: Partitions,
    standing: Standing,
    listens: bool,
    inside: bool,
    /// Polled since it subscribed.
    polled: bool,
    /// What the application was given, and the commits for it.
    given: Given,
    /// Records of these may be returned.
    open: Partitions,
    telling: Option<(Told, Partitions)>,
    /// Given up by the application: revoked was called and returned, or lost was.
    let_go: Partitions,
    heartbeats: u8,
    leaves: u8,
    /// A heartbeat failed since the last one that said everything.
    must_repeat: bool,
    /// The coordinator may know a membership that nobody has ended.
    known: bool,
    /// Heartbeats in flight of memberships that are over.
    strays: u8,
    /// Held, but no longer open: about to be revoked.
    closed: Partitions,
    /// Held, and the assigned callback has succeeded.
    welcomed: Partitions,
}

/// Where a consumer stands, by what it was told.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// It wants nothing from the group.
    #[default]
    Out,
    /// It subscribes, and may join or is a member.
    In,
    /// Its membership was ended, and its application does not know all of it yet.
    Ended,
    /// Its membership was ended because the application did not poll: only a poll begins another.
    Stale,
    /// It was refused for good: only a subscribe begins another membership.
    Barred,
}

/// Which callback the application is in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Told {
    /// Partitions were added.
    Assigned,
    /// Partitions will be somebody else's.
    Revoked,
    /// Partitions may already be somebody else's.
    Lost,
}

/// How a heartbeat or commit of a consumer ended.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Said {
    /// Answered with success.
    Accepted,
    /// Answered with an error that ends nothing.
    Refused,
    /// Answered: the membership is over.
    Ended,
    /// Answered: it is over, and the coordinator will have no other one.
    Barred,
    /// Never answered.
    Lost,
}

/// Something that an onlooker sees a consumer do, or be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// The application subscribes, with or without a listener.
    Subscribed {
        /// Whether it has a listener.
        listens: bool,
    },
    /// The application enters poll, unsubscribe or close; `seen`: it took all that was returned.
    Entered {
        /// Whether it took all that was returned.
        seen: bool,
        /// Whether it is a poll.
        polls: bool,
    },
    /// The application is outside again.
    Exited,
    /// An unsubscribe or close is over; whether the coordinator has confirmed it.
    Left {
        /// Whether the coordinator has confirmed it.
        clean: bool,
    },
    /// A heartbeat goes out.
    HeartbeatSent(&'a Heartbeat),
    /// A heartbeat that was no leave is over.
    HeartbeatOver(Said),
    /// A leave is over.
    LeaveOver(Said),
    /// A lookup of the coordinator is refused for good.
    LookupBarred,
    /// The application is told that the group will not have it.
    Barred,
    /// The time to leave is over: nobody tries any more.
    LeaveTimeUp,
    /// The application's own commit, of everything that was returned.
    CommitAsked,
    /// The application's own commit has failed, and it was told.
    CommitFailed,
    /// The application's own commit has succeeded, and it was told.
    CommitDone,
    /// A commit goes out in the name of this member epoch.
    CommitSent(&'a BTreeMap<TopicIdPartition, Committed>, Epoch),
    /// A commit is over; the partitions that were accepted.
    CommitOver(&'a BTreeMap<TopicIdPartition, Offset>),
    /// The application is given partitions.
    Given(&'a Partitions),
    /// Records of these may be returned from now on.
    Opened(&'a Partitions),
    /// No records of these may be returned from now on.
    Closed(&'a Partitions),
    /// These are the application's no longer.
    Released(&'a Partitions),
    /// The membership ended on the consumer's own account: it did not poll, or did not let go.
    GaveUp,
    /// A callback begins.
    Called(Told, &'a Partitions),
    /// The callback is over; whether it succeeded.
    Returned(bool),
    /// Records up to this offset go to the application.
    RecordsReturned(TopicIdPartition, Offset),
    /// Records up to this offset come for a poll that is dropped.
    RecordsLeft(TopicIdPartition, Offset),
    /// What a dropped poll left goes to the application.
    LeftReturned(TopicIdPartition),
    /// The application reads on from elsewhere; `None`: from where nobody knows yet.
    Sought(TopicIdPartition, Option<Offset>),
}

impl Conduct {
    /// Whether the application may be touching records of `partition`.
    #[must_use]
    pub fn has_in_hand(&self, partition: TopicIdPartition) -> bool {
        self.held.contains(&partition) || self.given.is_at_work(partition)
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The partitions whose records may be returned.
    #[must_use]
    pub fn open(&self) -> &Partitions {
        &self.open
    }

    /// Whether a revocation goes on that neither waits for the application nor is told to it: its
    /// timer must be running (R8, O6).
    #[must_use]
    pub fn must_be_timed(&self) -> bool {
        !self.closed.is_empty() && self.telling.is_none() && (self.inside || !self.listens)
    }

    /// Whether partitions are about to be revoked.
    #[must_use]
    pub fn is_letting_go(&self) -> bool {
        !self.closed.is_empty()
    }

    /// The callback that is open.
    #[must_use]
    pub fn telling(&self) -> Option<Told> {
        self.telling.as_ref().map(|(told, _)| *told)
    }

    /// Whether a commit is to be answered.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.given.is_committing()
    }

    /// Whether a commit that the application asked for has no end yet.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.given.is_asking()
    }

    /// Whether a leave is to be answered.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaves > 0
    }

    /// The same consumer after its process died: its application holds nothing any more.
    #[must_use]
    pub fn crashed(&self) -> Self {
        Self { id: self.id, ..Self::default() }
    }

    /// Takes note of an event.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn on(&mut self, event: &Event<'_>) -> Result<(), Rule> {
        match event {
            Event::Subscribed { listens } => {
                self.listens = *listens;
                match self.standing {
                    // M6: the application may still be in a callback of the membership before.
                    Standing::Out if self.telling.is_some() => {
                        (self.standing, self.polled) = (Standing::Ended, false);
                    }
                    Standing::Out => (self.standing, self.polled) = (Standing::In, false),
                    Standing::Barred => self.standing = Standing::Ended,
                    Standing::In | Standing::Ended | Standing::Stale => {}
                }
                Ok(())
            }
            Event::Entered { seen, polls } => {
                self.on_entered(*seen, *polls);
                Ok(())
            }
            Event::Exited => {
                self.inside = false;
                Ok(())
            }
            Event::Left { clean } => {
                self.standing = Standing::Out;
                self.inside = false;
                self.strays += std::mem::take(&mut self.heartbeats);
                if *clean && self.known { Err(Rule::LeftUntold) } else { Ok(()) }
            }
            Event::HeartbeatSent(request) => self.on_heartbeat_sent(request),
            Event::HeartbeatOver(said) => {
                self.on_heartbeat_over(*said);
                Ok(())
            }
            Event::LeaveOver(_) => {
                self.leaves -= 1;
                Ok(())
            }
            Event::LookupBarred => {
                if self.standing != Standing::Out {
                    (self.standing, self.known) = (Standing::Barred, false);
                }
                Ok(())
            }
            Event::Barred if self.standing == Standing::Out => Err(Rule::RefusedUnsubscribed),
            Event::Barred => Ok(()),
            Event::LeaveTimeUp => {
                self.known = false;
                Ok(())
            }
            Event::CommitAsked => {
                self.given.on_asked();
                Ok(())
            }
            Event::CommitFailed | Event::CommitDone => {
                self.given.on_asked_over(*event == Event::CommitFailed);
                Ok(())
            }
            Event::CommitSent(offsets, _) => self.given.on_sent(&self.held, offsets),
            Event::CommitOver(accepted) => self.given.on_over(&self.held, accepted),
            Event::GaveUp => {
                self.standing = Standing::Stale;
                Ok(())
            }
            Event::Given(_)
            | Event::Opened(_)
            | Event::Closed(_)
            | Event::Released(_)
            | Event::Called(..)
            | Event::Returned(_)
            | Event::RecordsReturned(..)
            | Event::RecordsLeft(..)
            | Event::LeftReturned(_)
            | Event::Sought(..) => self.on_application(event),
        }
    }

    /// What must hold between any two inputs: what was lost is gone (C5, M8).
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn at_rest(&self) -> Result<(), Rule> {
        let is_ended =
            matches!(self.standing, Standing::Ended | Standing::Stale | Standing::Barred);
        if is_ended && !self.held.is_empty() { Err(Rule::HeldAfterLoss) } else { Ok(()) }
    }

    fn on_entered(&mut self, seen: bool, polls: bool) {
        self.inside = true;
        self.polled |= polls;
        if self.standing == Standing::Stale && polls {
            self.standing = Standing::Ended;
        }
        if seen {
            self.given.on_seen();
        }
    }

    /// M2 to M5, M9 and M10: what a heartbeat says, and when.
    fn on_heartbeat_sent(&mut self, request: &Heartbeat) -> Result<(), Rule> {
        self.id = Some(request.member);
        let full = request.is_full();
        match request.epoch {
            HeartbeatEpoch::Leave => {
                self.leaves += 1;
                if std::mem::take(&mut self.known) && self.standing == Standing::In {
                    self.standing = Standing::Ended;
                }
                return if self.held.is_empty() { Ok(()) } else { Err(Rule::HeldAfterLoss) };
            }
            HeartbeatEpoch::Join => {
                self.join(full)?;
            }
            HeartbeatEpoch::Stay(_) => {
                if self.standing != Standing::In {
                    return Err(Rule::SpokeOutside);
                }
                if self.must_repeat && !full {
                    return Err(Rule::RetryIncomplete);
                }
            }
        }
        if self.heartbeats > 0 {
            return Err(Rule::HeartbeatsInFlight);
        }
        if request.owned.as_ref().is_some_and(|owned| *owned != self.held) {
            return Err(Rule::AcknowledgedUntrue);
        }
        self.heartbeats += 1;
        self.must_repeat &= !full;
        self.known = true;
        Ok(())
    }

    /// M1, M2, M4, M6: who may join, and what a join says.
    fn join(&mut self, full: bool) -> Result<(), Rule> {
        if !self.polled {
            return Err(Rule::JoinedWithoutPoll);
        }
        if !full {
            return Err(Rule::JoinIncomplete);
        }
        let told = self.telling.is_none();
        match self.standing {
            Standing::In => Ok(()),
            Standing::Ended if self.known => Err(Rule::LeftUntold),
            Standing::Ended if told => {
                self.standing = Standing::In;
                self.strays += std::mem::take(&mut self.heartbeats);
                self.must_repeat = false;
                Ok(())
            }
            Standing::Out | Standing::Ended | Standing::Stale | Standing::Barred => {
                Err(Rule::SpokeOutside)
            }
        }
    }

    fn on_heartbeat_over(&mut self, said: Said) {
        if self.strays > 0 {
            self.strays -= 1;
            return;
        }
        self.heartbeats -= 1;
        match said {
            Said::Accepted => {}
            Said::Refused | Said::Lost => self.must_repeat = true,
            Said::Ended | Said::Barred => {
                self.known = false;
                if self.standing == Standing::In {
                    let is_barred = said == Said::Barred;
                    self.standing = if is_barred { Standing::Barred } else { Standing::Ended };
                }
            }
        }
    }

    /// C6, R6: what is given, opened and returned.
    fn on_application(&mut self, event: &Event<'_>) -> Result<(), Rule> {
        match event {
            Event::Given(partitions) => self.held.extend(partitions.iter().copied()),
            Event::Opened(partitions) => {
                let told = !self.listens || partitions.is_subset(&self.welcomed);
                if !partitions.is_subset(&self.held) || !told {
                    return Err(Rule::ReturnedClosed);
                }
                self.open.extend(partitions.iter().copied());
            }
            Event::Closed(partitions) => {
                self.open = &self.open - partitions;
                self.closed.extend(partitions.iter().copied());
            }
            Event::Released(partitions) => self.on_released(partitions)?,
            Event::Called(told, partitions) => self.on_called(*told, partitions)?,
            Event::Returned(ok) => {
                match self.telling.take() {
                    Some((Told::Revoked | Told::Lost, partitions)) => {
                        self.let_go.extend(partitions);
                    }
                    Some((Told::Assigned, partitions)) if *ok => {
                        let held = partitions.into_iter().filter(|p| self.held.contains(p));
                        self.welcomed.extend(held);
                    }
                    Some((Told::Assigned, _)) | None => {}
                }
                if self.standing == Standing::Stale && self.inside {
                    self.standing = Standing::Ended;
                }
            }
            Event::RecordsReturned(partition, next) => {
                self.comes(*partition)?;
                self.given.on_returned(*partition, *next);
            }
            Event::RecordsLeft(partition, next) => {
                self.comes(*partition)?;
                self.given.on_left(*partition, *next);
            }
            // C6: it came before a revocation began, which waits for it.
            Event::LeftReturned(partition) => {
                if !std::mem::take(&mut self.inside) {
                    return Err(Rule::ReturnedClosed);
                }
                self.given.on_left_returned(*partition)?;
            }
            Event::Sought(partition, to) => self.given.on_sought(*partition, *to),
            _ => {}
        }
        Ok(())
    }

    /// C6: records end a poll.
    fn comes(&mut self, partition: TopicIdPartition) -> Result<(), Rule> {
        let may = self.inside && self.telling.is_none() && self.open.contains(&partition);
        self.inside = false;
        if may { Ok(()) } else { Err(Rule::ReturnedClosed) }
    }

    /// R3, R5, C4: what is let go of, and what ends with it (O10).
    fn on_released(&mut self, partitions: &Partitions) -> Result<(), Rule> {
        let is_member = self.standing == Standing::In;
        if is_member && self.listens && !partitions.is_subset(&self.let_go) {
            return Err(Rule::ReleasedUntold);
        }
        if is_member && partitions.iter().any(|p| self.given.is_at_work(*p)) {
            return Err(Rule::RevokedAtWork);
        }
        self.held = &self.held - partitions;
        self.open = &self.open - partitions;
        self.let_go = &self.let_go - partitions;
        self.closed = &self.closed - partitions;
        self.welcomed = &self.welcomed - partitions;
        self.given.on_released(partitions);
        Ok(())
    }

    /// C1 to C3: which callback, and when.
    fn on_called(&mut self, told: Told, partitions: &Partitions) -> Result<(), Rule> {
        if self.telling.is_some() {
            return Err(Rule::CallbackNested);
        }
        if !self.inside {
            return Err(Rule::CallbackOutside);
        }
        let is_true = match told {
            Told::Assigned | Told::Revoked => {
                self.standing == Standing::In && partitions.is_subset(&self.held)
            }
            Told::Lost => self.standing != Standing::In,
        };
        if !is_true || (partitions.is_empty() && told != Told::Assigned) {
            return Err(Rule::CallbackUntrue);
        }
        if told == Told::Revoked {
            self.open = &self.open - partitions;
        }
        self.telling = Some((told, partitions.clone()));
        Ok(())
    }
}
