//! A diagnosis for human eyes: who, what it waits for, and each reason with its partitions.

use super::{
    Aim, Belonging, Diagnosis, Membership, Method, PollFor, Reason, Revocation, Stand,
    TopicTrouble, Wait,
};
use evenkeel_spec::words::{NodeId, TopicPartition};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

impl Display for Diagnosis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.membership)?;
        if let Some(coordinator) = self.coordinator {
            write!(f, "; the coordinator is broker {}", coordinator.0)?;
        }
        if let Some(away) = self.away {
            let (away, max) = (Seconds(away), Seconds(self.away_max));
            write!(f, "; the application has not polled for {away} of {max}")?;
        }
        for (wait, lasts) in &self.waits {
            write!(f, "\n  waits for {wait} ({})", Seconds(*lasts))?;
        }
        for (topic, trouble) in &self.topics {
            write!(f, "\n  topic {topic}: {trouble}")?;
        }
        let mut groups = BTreeMap::<(Belonging, String), Vec<(&TopicPartition, Duration)>>::new();
        for (partition, known) in &self.partitions {
            let of = (known.belonging, known.reason.to_string());
            groups.entry(of).or_default().push((partition, known.lasts));
        }
        for ((belonging, reason), partitions) in groups {
            let lasts = partitions.iter().map(|(_, lasts)| *lasts);
            let longest = Seconds(lasts.max().unwrap_or_default());
            write!(f, "\n  {belonging}: {reason} ({longest}):")?;
            for (partition, _) in partitions.iter().take(SHOWN_MAX) {
                write!(f, " {partition}")?;
            }
            if partitions.len() > SHOWN_MAX {
                write!(f, " and {} more", partitions.len() - SHOWN_MAX)?;
            }
        }
        Ok(())
    }
}

impl Display for Membership {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("neither subscribed nor assigned anything"),
            Self::Manual => f.write_str("reads what the application assigned"),
            Self::Subscribed => f.write_str("subscribed, not joined yet"),
            Self::Joining => f.write_str("joining"),
            Self::Joined(epoch) => write!(f, "member of epoch {}", epoch.0),
            Self::Fenced => f.write_str("fenced, joins again"),
            Self::Stale => f.write_str("left for want of a poll, joins again in the next one"),
            Self::Refused => f.write_str("refused for good"),
            Self::Ending => f.write_str("leaving"),
        }
    }
}

impl Display for Belonging {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owned => "owned",
            Self::Assigned => "assigned",
            Self::Revoking => "being revoked",
            Self::Target => "to be taken",
            Self::Stranger => "not mine",
        })
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotAssigned => f.write_str("another member has it, or none"),
            Self::RevocationFirst => f.write_str("others are given up first"),
            Self::AcknowledgementFirst => {
                f.write_str("the coordinator must hear first what is owned")
            }
            Self::AwaitingPoll => f.write_str("the application must poll"),
            Self::CallbackRunning => f.write_str("the listener has not returned"),
            Self::CallbackFailed => {
                f.write_str("the assigned callback failed; the next poll calls it again")
            }
            Self::RevocationPending(revocation) => revocation.fmt(f),
            Self::Ending => f.write_str("the application leaves"),
            Self::Unsubscribed => f.write_str("its topic is not subscribed to any more"),
            Self::Paused => f.write_str("paused"),
            Self::NeedsSeek => f.write_str("no position, and auto.offset.reset is none: seek"),
            Self::AwaitingMetadata => f.write_str("its topic is being looked up"),
            Self::DoesNotExist => f.write_str("it does not exist"),
            Self::TopicRefused { code } => write!(f, "its topic may not be read: {code}"),
            Self::AwaitingCoordinator => {
                f.write_str("its committed offset needs the coordinator, which is not known")
            }
            Self::AwaitingCommitted { broker } => {
                write!(f, "broker {} is asked for its committed offset", broker.0)
            }
            Self::Resetting { broker } => {
                write!(f, "broker {} is asked for the offset to start from", broker.0)
            }
            Self::Validating { broker } => {
                write!(f, "broker {} is asked whether its log has what was read", broker.0)
            }
            Self::LeaderUnknown => f.write_str("its leader is not known"),
            Self::Backoff { left } => {
                write!(f, "refused or lost; asked again in {}", Seconds(left))
            }
            Self::Connecting { broker, aim } => {
                write!(f, "connecting to broker {} for {aim}", broker.0)
            }
            Self::Reconnecting { broker, aim, left } => {
                let left = Seconds(left);
                write!(f, "broker {} cannot be reached for {aim}; tried again in {left}", broker.0)
            }
            Self::Throttled { broker, aim, left } => {
                write!(f, "broker {} throttles {aim} for {} more", broker.0, Seconds(left))
            }
            Self::HeartbeatFirst { broker } => {
                write!(f, "a heartbeat to broker {} goes before the fetch", broker.0)
            }
            Self::NextFetch { broker } => {
                write!(f, "part of the next fetch from broker {}", broker.0)
            }
            Self::BufferHeld { broker } => write!(
                f,
                "other partitions of broker {} fill the buffer: the application must poll",
                broker.0
            ),
            Self::BufferFull { buffered: 0 } => {
                f.write_str("all of fetch.max.bytes is being fetched of others")
            }
            Self::BufferFull { buffered } => write!(
                f,
                "no room: {buffered} bytes are buffered, the rest was asked for; the application \
                 must poll"
            ),
            Self::Buffered => f.write_str("records are buffered: the application must poll"),
            Self::Fetching { broker } => {
                write!(f, "broker {} is asked for newer records", broker.0)
            }
        }
    }
}

impl Display for Revocation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Records => "the application has its records until its next poll",
            Self::Commit => "what was read is being committed",
            Self::Poll => "the listener is told in the next poll",
            Self::Callback => "the listener has not returned",
        })
    }
}

impl Display for Aim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommittedOffset => "the committed offset",
            Self::StartOffset => "the offset to start from",
            Self::Validation => "the validation of its position",
            Self::Records => "records",
        })
    }
}

impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll(what) => write!(f, "a poll of the application, {what}"),
            Self::Callback(method) => write!(f, "{method} to return"),
            Self::Coordinator(stand) => write!(f, "the group's coordinator to be found: {stand}"),
            Self::Join(stand) => write!(f, "the group to let it in: {stand}"),
            Self::Heartbeat(stand) => write!(f, "the coordinator to hear a heartbeat: {stand}"),
            Self::Commit(stand) => write!(f, "the commit before the revocation: {stand}"),
            Self::Leave(stand) => write!(f, "the leave: {stand}"),
            Self::TopicNames(topics) => write!(f, "the names of {} topic(s)", topics.len()),
            Self::Subscribe => f.write_str("a new subscription: the coordinator refused for good"),
            Self::Assignment => f.write_str("the coordinator to assign something"),
        }
    }
}

impl Display for PollFor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "to join",
            Self::Rejoin => "to join again",
            Self::Callback => "to tell its listener",
            Self::Release => "to be done with the records of what is to be revoked",
        })
    }
}

impl Display for Method {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assigned => "on_partitions_assigned",
            Self::Revoked => "on_partitions_revoked",
            Self::Lost => "on_partitions_lost",
        })
    }
}

impl Display for Stand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::InFlight { broker } => write!(f, "{} is asked", Broker(broker)),
            Self::Connecting { broker } => write!(f, "connecting to {}", Broker(broker)),
            Self::Reconnecting { broker: None, left } => {
                write!(f, "no server can be reached; tried again in {}", Seconds(left))
            }
            Self::Reconnecting { broker, left } => {
                let broker = Broker(broker);
                write!(f, "{broker} cannot be reached; tried again in {}", Seconds(left))
            }
            Self::Throttled { broker, left } => {
                write!(f, "{} throttles for {} more", Broker(broker), Seconds(left))
            }
            Self::Queued { broker } => {
                write!(f, "other requests to {} go first", Broker(broker))
            }
            Self::Backoff { left } => {
                write!(f, "refused or lost; asked again in {}", Seconds(left))
            }
            Self::NoCoordinator => f.write_str("the coordinator is not known"),
        }
    }
}

impl Display for TopicTrouble {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("being looked up"),
            Self::Missing => f.write_str("does not exist"),
            Self::Refused(code) => write!(f, "may not be read: {code}"),
        }
    }
}

struct Broker(Option<NodeId>);

impl Display for Broker {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(node) => write!(f, "broker {}", node.0),
            None => f.write_str("a bootstrap server"),
        }
    }
}

/// Seconds with one digit after the point, and milliseconds below one.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms < 1_000 {
            write!(f, "{ms} ms")
        } else {
            write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100)
        }
    }
}

/// How many partitions a line names.
const SHOWN_MAX: usize = 12;
