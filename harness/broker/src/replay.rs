//! What a replay of the model's traces decides about a cluster beyond what a test does: who is
//! numbered how, what a client is not shown yet, and what a request on its way says.

use crate::api::{self, Call};
use crate::cluster::Cluster;
use crate::hook::{ConnectionId, RequestWords};
use bytes::Bytes;
use evenkeel_spec::words::{NodeId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// What a replay has decided.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Fetches find no records.
    pub(crate) withholds_records: bool,
    /// Topics that Metadata does not name, by client id.
    pub(crate) hidden_topics: BTreeMap<String, BTreeSet<TopicName>>,
    /// The coordinator's seeded fault.
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<evenkeel_coordinator::Mutant>,
}

#[doc(hidden)]
impl Cluster {
    /// Numbers the members of a group in this order, so that their numbers, by which assignors go,
    /// do not depend on who speaks first. For a group that nobody named yet.
    pub fn number_members<'a>(&self, group: &str, names: impl IntoIterator<Item = &'a str>) {
        let mut state = self.shared().state();
        let members = &mut state.group_mut(&group.into()).members;
        for name in names {
            members.intern(name);
        }
    }

    /// Gives the topics that are created from now on the ids from this one on.
    pub fn number_topics_from(&self, first: u32) {
        self.shared().state().next_topic_id = first;
    }

    /// Whether fetches find no records from now on, as if the logs were empty.
    pub fn withhold_records(&self, withhold: bool) {
        self.shared().state().replay.withholds_records = withhold;
    }

    /// Which topics Metadata does not name to this client from now on.
    pub fn hide_topics(&self, client_id: &str, topics: impl IntoIterator<Item = TopicName>) {
        let topics = topics.into_iter().collect();
        self.shared().state().replay.hidden_topics.insert(client_id.to_owned(), topics);
    }

    /// Seeds a fault into every coordinator.
    #[cfg(feature = "mutants")]
    pub fn seed_mutant(&self, mutant: Option<evenkeel_coordinator::Mutant>) {
        self.shared().state().replay.mutant = mutant;
    }

    /// What a request frame, without its length, says in the protocol's words; `None` for other
    /// APIs than the group's and for what does not decode. Nothing is served and nothing counted.
    #[must_use]
    pub fn read_words(&self, frame: Bytes) -> Option<RequestWords> {
        let (node, connection) = (NodeId(0), ConnectionId(0));
        api::read_words(&mut Call::new(self.shared(), node, connection, String::new()), frame)
    }
}
