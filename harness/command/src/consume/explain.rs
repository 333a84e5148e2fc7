//! Why nothing arrives: what the consumer says of itself, and the coordinator of its group.
//!
//! Decides when it is time to say so, and how it is said.

use evenkeel::{Consumer, Diagnosis, GroupDescription, MemberDescription, TopicPartition};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Explains after each interval in which no record arrived.
#[derive(Debug)]
pub(super) struct Explainer {
    every: Duration,
    /// When the last record arrived, or was explained why none did.
    last: Instant,
    /// When the last record arrived.
    arrived: Instant,
}

impl Explainer {
    pub(super) fn new(every: Duration) -> Self {
        let now = Instant::now();
        Self { every, last: now, arrived: now }
    }

    /// Records arrived.
    pub(super) fn on_records(&mut self) {
        self.arrived = Instant::now();
        self.last = self.arrived;
    }

    /// Nothing did; the explanation, if it is time for one. Cancel-safe.
    pub(super) async fn explain(&mut self, consumer: &Consumer) -> Option<String> {
        if self.last.elapsed() < self.every {
            return None;
        }
        self.last = Instant::now();
        let silence = self.arrived.elapsed();
        let diagnosis = match consumer.diagnose().await {
            Ok(diagnosis) => diagnosis,
            Err(error) => return Some(format!("nothing arrives: {error}")),
        };
        // Who describes the group may be what is missing: the consumer goes on without.
        let group = match timeout(DESCRIBE_MAX, consumer.describe_group()).await {
            Ok(group) => group.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {} s", DESCRIBE_MAX.as_secs())),
        };
        let me = consumer.group_metadata().member.map(|(id, _)| id);
        Some(text(silence, &diagnosis, group.as_ref(), me.as_deref()))
    }
}

fn text(
    silence: Duration,
    diagnosis: &Diagnosis,
    group: Result<&GroupDescription, &String>,
    me: Option<&str>,
) -> String {
    let mut text = format!("nothing arrived for {} s\n{diagnosis}", silence.as_secs());
    let described = match group {
        Ok(group) => describe(&mut text, group, me),
        Err(error) => write!(text, "\nthe group's coordinator does not describe it: {error}"),
    };
    described.expect("text takes everything");
    text
}

fn describe(text: &mut String, group: &GroupDescription, me: Option<&str>) -> std::fmt::Result {
    let GroupDescription { state, epoch, assignment_epoch, assignor, members } = group;
    let (epoch, assigned) = (epoch.0, assignment_epoch.0);
    let count = members.len();
    write!(
        text,
        "\ngroup: {state}, epoch {epoch}, assigned for {assigned} by {assignor}, {count} member(s)"
    )?;
    for member in members {
        let is_me = if Some(&*member.id) == me { "me, " } else { "" };
        write!(text, "\n  {is_me}{}:", named(member))?;
        match member.epoch {
            Some(epoch) => write!(text, " epoch {}", epoch.0)?,
            None => write!(text, " away")?,
        }
        write!(text, ", has {}", list(&member.assignment))?;
        if member.target != member.assignment {
            write!(text, ", is to have {}", list(&member.target))?;
        }
    }
    if let Some(mine) = me.and_then(|me| group.member(me)) {
        for (partition, holder) in group.awaited(mine) {
            match holder {
                Some(holder) => write!(text, "\n  {partition} is still with {}", named(holder))?,
                None => write!(text, "\n  {partition} is with nobody, and comes with a heartbeat")?,
            }
        }
    }
    Ok(())
}

fn named(member: &MemberDescription) -> String {
    format!("{} ({} at {})", member.id, member.client_id, member.client_host)
}

fn list(partitions: &BTreeSet<TopicPartition>) -> String {
    if partitions.is_empty() {
        return "nothing".to_owned();
    }
    let shown = partitions.iter().take(SHOWN_MAX).map(ToString::to_string);
    let mut text = shown.collect::<Vec<_>>().join(" ");
    if partitions.len() > SHOWN_MAX {
        write!(text, " and {} more", partitions.len() - SHOWN_MAX).expect("text takes everything");
    }
    text
}

/// How many partitions of a member are named.
const SHOWN_MAX: usize = 12;

/// How long reading stops for the group's description.
const DESCRIBE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::describe;
    use evenkeel::{Epoch, GroupDescription, MemberDescription, TopicPartition};

    fn member(id: &str, has: &[u32], target: &[u32]) -> MemberDescription {
        let all = |of: &[u32]| of.iter().map(|index| TopicPartition::new("t", *index)).collect();
        MemberDescription {
            id: id.into(),
            instance: None,
            epoch: Some(Epoch(6)),
            client_id: "c".into(),
            client_host: "/h".into(),
            topics: ["t".into()].into(),
            pattern: None,
            assignment: all(has),
            target: all(target),
        }
    }

    #[test]
    fn who_holds_what_is_waited_for_stands_in_its_own_line() {
        let group = GroupDescription {
            state: "Reconciling".into(),
            epoch: Epoch(7),
            assignment_epoch: Epoch(7),
            assignor: "uniform".into(),
            members: vec![member("a", &[0, 1], &[0]), member("b", &[], &[1, 2])],
        };
        let mut text = String::new();
        describe(&mut text, &group, Some("b")).expect("text");
        assert_eq!(
            text,
            "\ngroup: Reconciling, epoch 7, assigned for 7 by uniform, 2 member(s)\
             \n  a (c at /h): epoch 6, has t-0 t-1, is to have t-0\
             \n  me, b (c at /h): epoch 6, has nothing, is to have t-1 t-2\
             \n  t-1 is still with a (c at /h)\
             \n  t-2 is with nobody, and comes with a heartbeat"
        );
    }
}
