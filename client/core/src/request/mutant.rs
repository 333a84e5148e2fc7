//! Seeded faults of the request machines, one at a time, for the model: each must be found by the
//! rule named for it. Without the cargo feature `mutants` no fault can be switched on.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        /// A fault that the model can seed into a [`Desk`](super::desk::Desk) or a
        /// [`Turn`](crate::turn::Turn).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Mutant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Mutant {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The real bug or the reason behind the fault.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

mutants! {
    // [Q1]
    /// Kafka's consumer: one FIFO for what the system and what the application asks for.
    OneLane
    // [Q1]
    /// A system request that is attached to a waiting user request stays in the user lane.
    AttachWithoutPromotion
    // [Q2]
    /// User requests move into the socket, where nothing overtakes them.
    InFlightUnbounded
    // [Q3]
    /// The bounded lane takes one call too many.
    OneTooMany
    // [Q3]
    /// A call that is over keeps its place in the bounded lane.
    PlaceLeaks
    // [Q4]
    /// Kafka's `TimedRequestState`: a request whose caller was told that its time is over goes out.
    SentExpired
    // [Q4]
    /// A call that is over is answered again when the late answer comes.
    AnsweredTwice
    // [Q5]
    /// A question is attached to an equal one that was sent before it was asked.
    AttachInFlight
    // [Q5]
    /// A question is attached to one that asks for less.
    AttachToSmaller
    // [Q6]
    /// One of several callers gives up, and the request of all is withdrawn.
    OneCancelsAll
    // [Q6]
    /// A request whose callers are all gone goes out all the same.
    SentForNobody
    // [Q6]
    /// A failure reaches the first of those that share a request.
    FailureReachesOne
    // [Q6]
    /// An answer reaches the first of those that share a request.
    AnswerReachesOne
    // [Q7]
    /// What was not sent when the connection ended waits for ever.
    UnsentForgotten
    // [Q7]
    /// What was in flight when the connection ended waits for ever.
    InFlightForgotten
    // [Q7]
    /// An attempt that was lost still counts as one on its way when its call ends.
    LandedForgotten
    // [Q8]
    /// KIP-219: requests go out while the broker does not read.
    ThrottleIgnored
    // [Q8]
    /// A throttled broker keeps heartbeats waiting for as long as it keeps fetches.
    ThrottledSystem
    // [Q8]
    /// One connection to a broker, whatever keeps it waiting.
    OneConnection
    // [Q8]
    /// The second connection stays when what it was for is over.
    SecondKept
    // [Q8]
    /// A lookup of the coordinator goes behind a fetch that the broker parks, as metadata may.
    LookupParked
    // [Q8]
    /// What any broker can answer goes to the one that does not read.
    PeerThrottled
    // [Q9]
    /// A leave brings the commit that waits along, and not the heartbeat that the commit goes before.
    HeartbeatLeftBehind
    // [Q9]
    /// A heartbeat that acknowledges or leaves overtakes the commit before it on a second
    /// connection.
    CommitOvertaken
    // [Q9]
    /// A leave overtakes a heartbeat in flight on a second connection, which makes it a member
    /// again.
    HeartbeatOvertaken
    // [Q10]
    /// The next attempt to connect does not wait.
    NoReconnectBackoff
    // [Q11]
    /// KAFKA-19357: close forgets what waits.
    CloseForgetsUnsent
    // [Q11]
    /// Close forgets what is in flight.
    CloseForgetsInFlight
    // [Q12]
    /// Timers wait until nothing else is to be done.
    TimersLast
    // [Q12]
    /// Sockets are served for as long as they have something.
    SocketsUnbounded
    // [Q12]
    /// Commands are served for as long as there are any.
    CommandsUnbounded
    // [Q13]
    /// KAFKA-20854: the loop is told to go on while nothing is ready.
    Spin
    // [Q13]
    /// KAFKA-20253: for as long as nothing comes of a timer, the loop is told that it is due.
    TimerAgain
}

impl Mutant {
    /// Whether this fault is the seeded one.
    #[must_use]
    pub fn is(self, seeded: Option<Self>) -> bool {
        cfg!(feature = "mutants") && seeded == Some(self)
    }
}
