//! Whether a recorded run is a behaviour that the model permits.
//!
//! A member is checked alone: the other end is an arbitrary coordinator, whatever it answers and
//! whenever. What is kept is the set of all explanations of what was seen so far, each the shipped
//! group machine ([`evenkeel_core::group::Group`], which the model explores) with what it has yet
//! to be seen to do. What cannot be seen (which timer fired when, who needed the coordinator, which
//! connection a lookup waited for) is tried in every way. A run is refused at the event that no
//! explanation takes. Beside that it is judged by the rules of spec, which know no machine
//! ([`judge`]), and runs of one group are held against each other ([`validate_group`]). Of dates only `max.poll.interval.ms` is judged: spec/09 says what that leaves
//! open.

mod alter;
mod conduct;
mod group;
mod member;
mod run;
mod step;
mod told;
mod unjudged;
mod wire;
mod words;

pub use alter::{Sensitivity, Tried, sensitivity};
pub use conduct::{Judged, judge};
pub use group::{GroupReport, GroupVerdict, Overlap, validate_group};
pub use run::{
    Answer, Entry, Event, FORMAT_VERSION, Fault, Header, Kind, Method, Part, Reason, Run, RunError,
};
pub use unjudged::Unjudged;

use evenkeel_spec::rules::Rule;
use member::Member;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use wire::Wire;

/// Why an explanation does not take an event.
type Refused = &'static str;

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Events that were looked at.
    pub events: usize,
    /// The most explanations that there were at once.
    pub explanations_max: usize,
    /// The run goes on to the consumer's end.
    pub ended: bool,
    /// The line from which on the rules of `spec` are not judged, and why: only the machine is.
    pub unjudged: Option<(usize, Unjudged)>,
    /// Whether it is permitted.
    pub verdict: Verdict,
}

/// Whether a run is a behaviour that the model permits.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is.
    Permitted,
    /// It is not.
    Refused(Box<Refusal>),
    /// There were more explanations than are looked at: nothing is known from here on.
    GaveUp {
        /// The line.
        line: usize,
        /// How many there were.
        explanations: usize,
    },
}

/// The event that no explanation takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The event.
    pub entry: Entry,
    /// The rule of `spec` that it breaks; `None`: the machine does not explain it.
    pub rule: Option<Rule>,
    /// Why each kind of explanation did not take it.
    pub reasons: BTreeSet<&'static str>,
    /// What some explanations would have had to be seen next.
    pub expected: Vec<String>,
}

/// Checks one member's run.
#[must_use]
pub fn validate(run: &Run) -> Report {
    let mut frontier = Frontier::new(run);
    let mut report = Report {
        events: 0,
        explanations_max: 1,
        ended: false,
        unjudged: None,
        verdict: Verdict::Permitted,
    };
    for entry in &run.entries {
        report.events += 1;
        report.ended |= matches!(entry.event, Event::Closed { .. });
        if let Err(verdict) = frontier.on(entry) {
            report.verdict = verdict;
            return report;
        }
        report.explanations_max = report.explanations_max.max(frontier.members.len());
    }
    let judged = conduct::judge(run);
    report.unjudged = judged.until;
    if let Some((rule, entry)) = judged.broken {
        let reasons = [rule.sentence()].into();
        let refusal = Refusal { entry, rule: Some(rule), reasons, expected: Vec::new() };
        report.verdict = Verdict::Refused(Box::new(refusal));
    }
    report
}

/// All explanations of what was seen so far.
#[derive(Clone, Debug)]
struct Frontier {
    wire: Wire,
    members: Vec<Member>,
}

impl Frontier {
    fn new(run: &Run) -> Self {
        Self { wire: Wire::default(), members: vec![Member::new(&run.header)] }
    }

    fn on(&mut self, entry: &Entry) -> Result<(), Verdict> {
        let members = self.with_hidden_steps(entry)?;
        let refused = |reasons: BTreeSet<&'static str>, expected: Vec<String>| {
            let entry = entry.clone();
            Verdict::Refused(Box::new(Refusal { entry, rule: None, reasons, expected }))
        };
        let about = match self.wire.on(&entry.event) {
            Ok(about) => about,
            Err(reason) => return Err(refused([reason].into(), Vec::new())),
        };
        let mut reasons = BTreeSet::new();
        let mut next = HashSet::new();
        for mut member in members.iter().cloned() {
            member.set_now(entry.at_ms);
            match member.on(&entry.event, &about, &self.wire) {
                Ok(members) => next.extend(members.into_iter().map(Member::canonical)),
                Err(reason) => {
                    reasons.insert(reason);
                }
            }
        }
        if next.is_empty() {
            return Err(refused(reasons, expected(&members)));
        }
        self.members = next.into_iter().collect();
        Ok(())
    }

    /// Every explanation with any hidden steps, as long as nothing must be seen.
    fn with_hidden_steps(&self, entry: &Entry) -> Result<Vec<Member>, Verdict> {
        let mut all = Vec::new();
        let mut known: HashSet<Member> = self.members.iter().cloned().collect();
        let mut waiting: Vec<Member> = self.members.clone();
        while let Some(member) = waiting.pop() {
            if member.is_at_rest() {
                for step in member.hidden_steps(&self.wire, entry.at_ms) {
                    let step = step.canonical();
                    if !known.contains(&step) {
                        known.insert(step.clone());
                        waiting.push(step);
                    }
                }
            }
            all.push(member);
            if known.len() > EXPLANATIONS_MAX {
                let explanations = known.len();
                return Err(Verdict::GaveUp { line: entry.line, explanations });
            }
        }
        Ok(all)
    }
}

fn expected(members: &[Member]) -> Vec<String> {
    let dues = members.iter().filter_map(|member| member.due.front());
    let dues: BTreeSet<String> = dues.map(|due| format!("{due:?}")).collect();
    dues.into_iter().take(EXPECTED_MAX).collect()
}

/// How many explanations are looked at. A run without faults has one or two at a time, a long
/// outage some dozens.
const EXPLANATIONS_MAX: usize = 20_000;
/// How many are told.
const EXPECTED_MAX: usize = 6;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permitted => f.write_str("permitted"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::GaveUp { line, explanations } => {
                write!(f, "given up at line {line}: more than {explanations} explanations")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { line, at_ms, event } = &self.entry;
        write!(f, "refused at line {line} ({at_ms} ms): {event:?}")?;
        if let Some(rule) = self.rule {
            write!(f, "\n  breaks {} {rule:?}", rule.tag())?;
        }
        for reason in &self.reasons {
            write!(f, "\n  because {reason}")?;
        }
        for expected in &self.expected {
            write!(f, "\n  expected {expected}")?;
        }
        Ok(())
    }
}
