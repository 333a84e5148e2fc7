//! Where the onlooker stops: what no line of a run tells. Nothing is decided here.

use std::fmt;

/// Why a run is not judged by the rules from some line on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unjudged {
    /// Answers without requests and the like: the machine refuses it for that.
    IllFormed,
    /// Two topics have one name: lines name topics, requests their ids.
    Namesakes,
    /// A topic has no id: metadata has not told it.
    Nameless,
    /// The application subscribes during an unsubscribe, or adds or drops its listener while it holds
    /// partitions.
    Overlaps,
    /// The consumer was dropped: nothing that follows is the application's.
    Dropped,
    /// A fence or a refusal that no answer shows.
    UnknownError,
    /// A request tells what was true when it was ordered, and breaks a rule if it is taken as of now.
    Late,
}

impl fmt::Display for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IllFormed => "the run is not well formed",
            Self::Namesakes => "two topics have one name",
            Self::Nameless => "a topic has no id",
            Self::Overlaps => "a subscription that overlaps the one before it",
            Self::Dropped => "the consumer was dropped",
            Self::UnknownError => "an error that the onlooker does not know ends it",
            Self::Late => "a request that may have waited for its connection",
        })
    }
}
