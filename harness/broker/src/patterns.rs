//! Subscriptions by pattern: what each member subscribes to by name and by pattern, and which topics
//! match, as the coordinator knows it.
//!
//! Decides when a pattern is resolved: with the first heartbeat that names it, which is answered
//! without it; again with a heartbeat, once topics came or went and [`REFRESH_PAUSE`] has passed, or
//! after `group.consumer.regex.refresh.interval.ms`. What was found counts from the member's next
//! heartbeat on, and for as long as a member has the pattern: a coordinator that fails over finds it
//! in its log (`ConsumerGroupRegularExpression`). Source:
//! `GroupMetadataManager.maybeUpdateRegularExpressions` and `.replay` of Apache Kafka 4.3.1, whose
//! resolution is a task of its own.

use evenkeel_spec::words::{Heartbeat, HeartbeatEpoch, MemberId, Pattern, TopicName};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The members of one group, and what their patterns match.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    members: BTreeMap<MemberId, Said>,
    resolved: BTreeMap<Arc<str>, Resolved>,
}

/// What a member subscribes to.
#[derive(Debug, Default)]
struct Said {
    names: BTreeSet<TopicName>,
    pattern: Option<Arc<str>>,
    /// Both together, as the brain heard it last.
    told: BTreeSet<TopicName>,
}

/// What a pattern matched.
#[derive(Debug)]
struct Resolved {
    matching: BTreeSet<TopicName>,
    /// All topics that there were.
    of: BTreeSet<TopicName>,
    at: Instant,
}

/// A pattern as this broker reads it: for whole names. `regex` has RE2's syntax.
pub(crate) fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    // By itself first: `a)|(b` is none, though it is one within the group.
    Regex::new(pattern)?;
    // What ends with a comment, `(?x)a # note`, ends with its line.
    let (whole, line) = (format!("^(?:{pattern})$"), format!("^(?:{pattern}\n)$"));
    Regex::new(&whole).or_else(|_| Regex::new(&line))
}

impl Patterns {
    /// What the brain is to hear: names instead of patterns.
    pub(crate) fn resolve(
        &mut self,
        heartbeat: &Heartbeat,
        topics: &BTreeSet<TopicName>,
        refresh: Duration,
    ) -> Heartbeat {
        let mut heard = Heartbeat { pattern: None, ..heartbeat.clone() };
        if heartbeat.epoch == HeartbeatEpoch::Leave {
            self.forget(heartbeat.member);
            return heard;
        }
        let said = self.members.entry(heartbeat.member).or_default();
        if let Some(names) = &heartbeat.subscription {
            said.names = names.as_ref().clone();
        }
        match &heartbeat.pattern {
            Some(Pattern::Matching(pattern)) => said.pattern = Some(Arc::clone(pattern)),
            Some(Pattern::Ended) => said.pattern = None,
            None => {}
        }
        self.forget_unsaid();
        let said = self.members.entry(heartbeat.member).or_default();
        let mut subscription = said.names.clone();
        if let Some(resolved) = said.pattern.as_ref().and_then(|of| self.resolved.get(of)) {
            subscription.extend(resolved.matching.iter().cloned());
        }
        if heartbeat.subscription.is_some() || said.told != subscription {
            said.told = subscription.clone();
            heard.subscription = Some(Arc::new(subscription));
        }
        if let Some(pattern) = said.pattern.clone() {
            self.refresh(pattern, topics, refresh);
        }
        heard
    }

    /// What a member said, to describe it: by name, and by pattern.
    pub(crate) fn said(&self, member: MemberId) -> Option<(&BTreeSet<TopicName>, Option<&str>)> {
        self.members.get(&member).map(|said| (&said.names, said.pattern.as_deref()))
    }

    /// The member has left or was evicted: whoever joins by its id says everything anew.
    pub(crate) fn forget(&mut self, member: MemberId) {
        self.members.remove(&member);
        self.forget_unsaid();
    }

    /// What was found goes with the last member of its pattern.
    fn forget_unsaid(&mut self) {
        let is_said = |pattern: &Arc<str>| {
            self.members.values().any(|said| said.pattern.as_ref() == Some(pattern))
        };
        self.resolved.retain(|pattern, _| is_said(pattern));
    }

    fn refresh(&mut self, pattern: Arc<str>, topics: &BTreeSet<TopicName>, refresh: Duration) {
        let is_current = self.resolved.get(&pattern).is_some_and(|resolved| {
            let is_old = resolved.of != *topics && resolved.at.elapsed() >= REFRESH_PAUSE;
            !is_old && resolved.at.elapsed() < refresh
        });
        // A pattern that does not compile was refused before it came here.
        if let (false, Ok(regex)) = (is_current, compiled(&pattern)) {
            let matches = |name: &&TopicName| regex.is_match(name.as_str());
            let matching = topics.iter().filter(matches).cloned().collect();
            let resolved = Resolved { matching, of: topics.clone(), at: Instant::now() };
            self.resolved.insert(pattern, resolved);
        }
    }
}

/// How soon a pattern is resolved again because topics came or went: Kafka's
/// `REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::{Patterns, compiled};
    use evenkeel_spec::words::{
        Epoch, Heartbeat, HeartbeatEpoch, MemberId, Pattern, Subscription, TopicName,
    };
    use std::collections::BTreeSet;
    use std::time::Duration;
    use tokio::time::advance;

    const REFRESH: Duration = Duration::from_secs(600);

    fn names(names: &[&str]) -> BTreeSet<TopicName> {
        names.iter().map(|name| TopicName::from(*name)).collect()
    }

    fn heartbeat(pattern: Option<Pattern>, topics: Option<&[&str]>) -> Heartbeat {
        Heartbeat {
            member: MemberId(0),
            epoch: HeartbeatEpoch::Stay(Epoch(1)),
            rebalance_timeout_ms: None,
            subscription: topics.map(|topics| Subscription::new(names(topics))),
            pattern,
            assignor: None,
            owned: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_matches_counts_from_the_next_heartbeat_and_new_topics_from_the_next_refresh() {
        let mut patterns = Patterns::default();
        let mut topics = names(&["a1", "a22", "b"]);
        let hear = |patterns: &mut Patterns, topics: &_, pattern, by_name| {
            let heard = patterns.resolve(&heartbeat(pattern, by_name), topics, REFRESH);
            heard.subscription.map(|topics| topics.as_ref().clone())
        };
        let matching = Some(Pattern::Matching("a.".into()));
        let empty = Some(BTreeSet::new());
        assert_eq!(hear(&mut patterns, &topics, matching, Some(&[])), empty, "not resolved yet");
        assert_eq!(hear(&mut patterns, &topics, None, None), Some(names(&["a1"])), "whole names");
        assert_eq!(hear(&mut patterns, &topics, None, None), None, "unchanged");
        topics.extend(names(&["a3"]));
        advance(Duration::from_secs(9)).await;
        assert_eq!(hear(&mut patterns, &topics, None, None), None);
        advance(Duration::from_secs(1)).await;
        assert_eq!(hear(&mut patterns, &topics, None, None), None, "it resolves now");
        assert_eq!(hear(&mut patterns, &topics, None, None), Some(names(&["a1", "a3"])));
        let both = Some(names(&["a1", "a3", "b"]));
        assert_eq!(hear(&mut patterns, &topics, None, Some(&["b"])), both);
        assert_eq!(hear(&mut patterns, &topics, Some(Pattern::Ended), None), Some(names(&["b"])));
        assert_eq!(patterns.said(MemberId(0)), Some((&names(&["b"]), None)));
        let matching = Some(Pattern::Matching("a.".into()));
        assert_eq!(hear(&mut patterns, &topics, matching, None), None, "its last member was gone");
        assert_eq!(hear(&mut patterns, &topics, None, None), both);
        patterns.forget(MemberId(0));
        assert_eq!(hear(&mut patterns, &topics, None, Some(&["b"])), Some(names(&["b"])));
        assert_eq!(patterns.said(MemberId(0)), Some((&names(&["b"]), None)), "it is another one");
    }

    #[test]
    fn a_pattern_is_one_by_itself_and_matches_whole_names() {
        for none in ["a)|(b", "t(", "a\\", "(?x)a # note\n)|(b"] {
            assert!(compiled(none).is_err(), "{none}");
        }
        for (pattern, matching, other) in [
            ("a|ab", "ab", "abc"),
            ("(?x)a # note", "a", "ab"),
            ("(?x)a # note\n", "a", "a#note"),
            ("(?i)a", "A", "AA"),
            ("a$", "a", "a\n"),
            ("a#", "a#", "a"),
        ] {
            let regex = compiled(pattern).expect("it is one");
            assert!(regex.is_match(matching), "{pattern} {matching}");
            assert!(!regex.is_match(other), "{pattern} {other}");
        }
    }
}
