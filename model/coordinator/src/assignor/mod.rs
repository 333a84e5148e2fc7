//! The server-side assignors: pure functions from members and topics to a target.

mod heterogeneous;
mod homogeneous;
mod range;

use crate::MemberSpec;
use evenkeel_spec::words::{Assignor, MemberId, Partitions, Subscription, TopicId, Topics};
use std::collections::BTreeMap;

/// A target for every member. `homogeneous`: all members subscribe to the same topics, which lets
/// uniform and range take the first member's subscription for everybody's.
///
/// An assignor that is not known is taken for uniform; heartbeats that name one are refused.
#[must_use]
pub fn assign(
    assignor: &Assignor,
    members: &BTreeMap<MemberId, MemberSpec<'_>>,
    topics: &Topics,
    homogeneous: bool,
) -> BTreeMap<MemberId, Partitions> {
    match assignor {
        Assignor::Range => range::assign(members, topics, homogeneous),
        Assignor::Uniform | Assignor::Other(_) if homogeneous => {
            homogeneous::assign(members, topics)
        }
        Assignor::Uniform | Assignor::Other(_) => heterogeneous::assign(members, topics),
    }
}

/// The topics that exist of a subscription, with their partition counts.
fn existing<'a>(
    subscription: &'a Subscription,
    topics: &'a Topics,
) -> impl Iterator<Item = (TopicId, u32)> + 'a {
    topics
        .iter()
        .filter(|(_, topic)| subscription.contains(&topic.name))
        .map(|(id, topic)| (*id, topic.partitions))
}
