//! The names of the rules, and what breaks them.

use crate::words::TopicIdPartition;
use std::fmt;

macro_rules! rules {
    ($($(#[doc = $doc:literal])* $name:ident $tag:literal)*) => {
        /// A rule of the protocol.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Rule {
            $($(#[doc = $doc])* $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its tag in the chapters.
            #[must_use]
            pub fn tag(self) -> &'static str {
                match self {
                    $(Self::$name => $tag,)*
                }
            }

            /// What it demands.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

rules! {
    /// A partition is granted to one member only.
    GrantedTwice "G1"
    /// An application is given a partition only while the coordinator grants it.
    TakenUngranted "G2"
    /// A partition is not granted elsewhere while its holder has not let go of it.
    GrantedWhileHeld "G3"
    /// A member that must revoke is timed, and so is every session.
    Untimed "G4"
    /// A member epoch never goes back while the membership lasts, nor on while the member revokes;
    /// and no two members hold a partition at one epoch.
    EpochReused "G5"
    /// A member is granted only topics that it subscribes to.
    GrantedUnsubscribed "G6"
    /// A commit is accepted only from the member that the partition is granted to.
    CommitAcceptedFromOther "O5"
    /// A commit of the member that the partition is granted to, at its epoch, is not refused.
    CommitRefusedToOwner "O7"
    /// A commit carries no offset that the application is not done with.
    CommittedUnreleased "O1"
    /// A commit carries no offset beyond what the application was given, nor what a seek has taken
    /// back.
    CommittedUngiven "O2"
    /// A commit is sent only for partitions that are held, and by a member.
    CommitSentUnowned "O8"
    /// One commit is in flight at a time.
    CommitsInFlight "O4"
    /// No commit carries less than the one before it had accepted, or than was asked for last.
    CommitLowered "O9"
    /// One heartbeat is in flight at a time, a leave excepted.
    HeartbeatsInFlight "M3"
    /// Nobody joins before the application has polled.
    JoinedWithoutPoll "M1"
    /// A member that is fenced, unsubscribed or has left says nothing but its leave.
    SpokeOutside "M2"
    /// A join says everything.
    JoinIncomplete "M4"
    /// A heartbeat tells exactly what the application holds.
    AcknowledgedUntrue "M5"
    /// A heartbeat after a failure says everything again.
    RetryIncomplete "M10"
    /// What was refused is not said again at once.
    RetriedAtOnce "M12"
    /// A member that says the last epoch that it was told, or joins, is not fenced while the
    /// coordinator's records still have it.
    FencedUnjustly "M11"
    /// A leave reaches the coordinator or is tried until its time is over.
    LeftUntold "M9"
    /// A refusal ends only a membership that there is.
    RefusedUnsubscribed "L2"
    /// No two callbacks are open at once.
    CallbackNested "C2"
    /// Callbacks are called only while the application is inside poll, unsubscribe or close.
    CallbackOutside "C1"
    /// Revoked only as a member, and lost only when the membership is over.
    CallbackUntrue "C3"
    /// A held partition is released only after the application was told, or never told of it.
    ReleasedUntold "C4"
    /// What was lost is forgotten at once.
    HeldAfterLoss "C5"
    /// Records are returned only of partitions that are open: assigned, not being revoked.
    ReturnedClosed "C6"
    /// What the application still works on is not revoked.
    RevokedAtWork "R3"
    /// A revocation is over, or costs the membership, after the rebalance timeout.
    RevocationUnbounded "R8"
    /// What is returned follows, in the log that it comes from, on what was returned before, unless the
    /// application was told otherwise.
    ReadOnAfterLoss "P4"
    /// Nothing moves a position but what was returned, a seek, a reset, and a log that differs.
    Misplaced "P7"
    /// Nothing is put on a connection while something more urgent could be, and what is urgent does
    /// not wait for a broker that would read its other connection.
    SystemWaited "Q1"
    /// A bounded number of user requests is in flight on one connection.
    TooManyInFlight "Q2"
    /// A bounded number of calls is not over.
    PlacesExceeded "Q3"
    /// A call is refused only when every place is taken.
    RefusedWithRoom "Q3"
    /// What is out of time is not sent.
    SentExpired "Q4"
    /// An answer is not older than its question.
    AnswerTooOld "Q5"
    /// An answer is about everything that was asked for.
    AnswerIncomplete "Q5"
    /// What nobody waits for is not sent.
    SentForNobody "Q6"
    /// Whoever waits is told of the end.
    Unanswered "Q7"
    /// Whoever waits is told of the end once.
    EndedTwice "Q7"
    /// Who is told of the end is told whether an attempt was on its way.
    OutcomeUntrue "Q7"
    /// Nothing is sent to a broker that does not read.
    SentThrottled "Q8"
    /// A word about ownership does not overtake a commit, nor a leave a heartbeat.
    Overtaken "Q9"
    /// What failed is not tried again at once, and nothing is done while nothing is ready.
    Spun "Q10"
    /// What stays ready is served after a bounded number of turns.
    Starved "Q12"
}

/// A rule that was broken, and where.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Which consumer, by its number; `None` when it is the coordinator.
    pub consumer: Option<usize>,
    /// Which partition, if one.
    pub partition: Option<TopicIdPartition>,
}

impl Violation {
    /// `rule` was broken by nobody in particular.
    #[must_use]
    pub fn of(rule: Rule) -> Self {
        Self { rule, consumer: None, partition: None }
    }

    /// At `partition`.
    #[must_use]
    pub fn at(self, partition: TopicIdPartition) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// By consumer `number`.
    #[must_use]
    pub fn by(self, number: usize) -> Self {
        Self { consumer: Some(number), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {:?}", self.rule.tag(), self.rule)?;
        if let Some(consumer) = self.consumer {
            write!(f, " by c{consumer}")?;
        }
        if let Some(partition) = self.partition {
            write!(f, " at {partition:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}
