//! A group as its coordinator describes it: the answer to `ConsumerGroupDescribe` (key 69).

use evenkeel_spec::words::{Epoch, TopicName, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A group of the consumer protocol, as its coordinator describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupDescription {
    /// Kafka's name of its state: `Empty`, `Assigning`, `Reconciling`, `Stable`, `Dead`.
    pub state: Arc<str>,
    /// Changes whenever members, their subscriptions, or the topics do.
    pub epoch: Epoch,
    /// The group epoch that the target assignment was computed for.
    pub assignment_epoch: Epoch,
    /// The server-side assignor.
    pub assignor: Arc<str>,
    /// Its members, by id.
    pub members: Vec<MemberDescription>,
}

/// A member, as its coordinator describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberDescription {
    /// Its id.
    pub id: Arc<str>,
    /// `group.instance.id`, if it is a static member.
    pub instance: Option<Arc<str>>,
    /// Its epoch; `None`: a static member that is away.
    pub epoch: Option<Epoch>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// The topics that it subscribes to by name.
    pub topics: BTreeSet<TopicName>,
    /// The pattern (RE2J) that it subscribes to.
    pub pattern: Option<Arc<str>>,
    /// What the coordinator has assigned to it. It keeps what it revokes until it has said so.
    pub assignment: BTreeSet<TopicPartition>,
    /// What it is to have in the end.
    pub target: BTreeSet<TopicPartition>,
}

impl GroupDescription {
    /// A member by its id.
    #[must_use]
    pub fn member(&self, id: &str) -> Option<&MemberDescription> {
        self.members.iter().find(|member| &*member.id == id)
    }

    /// Who has a partition, in the coordinator's eyes.
    #[must_use]
    pub fn holder(&self, partition: &TopicPartition) -> Option<&MemberDescription> {
        self.members.iter().find(|member| member.assignment.contains(partition))
    }

    /// What this member is to have and does not, each with who has it still.
    pub fn awaited<'a>(
        &'a self,
        member: &'a MemberDescription,
    ) -> impl Iterator<Item = (&'a TopicPartition, Option<&'a MemberDescription>)> {
        let missing = member.target.difference(&member.assignment);
        missing.map(|partition| (partition, self.holder(partition)))
    }
}
