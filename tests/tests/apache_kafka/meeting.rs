//! A group that members of several kinds join, leave and are killed in, and the account of what
//! they read: who is in it now, and what those said who have gone.

use crate::Outcome;
use crate::group::PATIENCE;
use evenkeel_tests::ledger::{self, Ending, Ledger, Partition};
use evenkeel_tests::member::{Settings, Thread};
use evenkeel_tests::process::{self, Process, ProcessError, Signal};
use evenkeel_tests::validated;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// A group that reads the topic of the same name.
pub(crate) struct Meeting {
    pub(crate) name: &'static str,
    pub(crate) bootstrap: String,
    pub(crate) partitions: usize,
    /// Where the logs of processes go.
    pub(crate) dir: PathBuf,
    pub(crate) begin: Instant,
    pub(crate) members: Vec<(String, Peer)>,
    /// Where processes of evenkeel's write down their runs.
    pub(crate) recorded: Vec<(String, PathBuf)>,
    /// Those that are not in it any more, with all they said.
    pub(crate) gone: Vec<(String, Vec<Value>, Ending)>,
}

/// A member, and where it runs.
pub(crate) enum Peer {
    Thread(Thread),
    Process(Process),
}

impl Meeting {
    /// Nobody has joined yet.
    pub(crate) fn new(name: &'static str, bootstrap: String, partitions: usize) -> Self {
        let (dir, begin) = (std::env::temp_dir(), Instant::now());
        let (members, gone) = (Vec::new(), Vec::new());
        let recorded = Vec::new();
        Self { name, bootstrap, partitions, dir, begin, members, recorded, gone }
    }

    /// A member of evenkeel's in this process.
    pub(crate) fn join_thread(&mut self, name: &str, how: impl FnOnce(Settings) -> Settings) {
        let settings = how(Settings::new(&self.bootstrap, self.name));
        self.join(name, Peer::Thread(Thread::start(settings)));
    }

    /// A member of evenkeel's in a process of its own.
    pub(crate) fn join_process(&mut self, name: &str) -> Result<(), ProcessError> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel-member"));
        command.args([&self.bootstrap, self.name, self.name]);
        let recorded = self.dir.join(format!("{}-{name}.run.jsonl", self.name));
        command.arg(format!("record={}", recorded.display()));
        self.recorded.push((name.into(), recorded));
        let process = Process::spawn(name, &mut command, &self.dir.join(format!("{name}.log")))?;
        self.join(name, Peer::Process(process));
        Ok(())
    }

    /// A member of any kind.
    pub(crate) fn join(&mut self, name: &str, peer: Peer) {
        self.members.push((name.into(), peer));
        self.say(&format!("{name} starts"));
    }

    /// Kills a process.
    pub(crate) fn kill(&mut self, name: &str) -> Outcome {
        let Peer::Process(mut process) = self.take(name) else { panic!("{name} is a thread") };
        process.signal(Signal::Kill)?;
        process.await_exit(PATIENCE)?;
        self.say(&format!("{name} is killed"));
        self.gone.push((name.into(), process.events(), Ending::Killed));
        Ok(())
    }

    /// Stops a process where it is: to the group it is silent. Give it back to [`Meeting::resume`].
    pub(crate) fn pause(&mut self, name: &str) -> Result<Peer, Box<dyn std::error::Error>> {
        let peer = self.take(name);
        let Peer::Process(process) = &peer else { panic!("{name} is a thread") };
        process.signal(Signal::Stop)?;
        self.say(&format!("{name} is paused"));
        Ok(peer)
    }

    /// Lets a paused process go on, and waits until it knows that the group went on without it.
    pub(crate) fn resume(&mut self, name: &str, mut peer: Peer) -> Outcome {
        let Peer::Process(process) = &mut peer else { panic!("{name} is a thread") };
        let mark = process.mark();
        process.signal(Signal::Continue)?;
        let is_lost = |event: &Value| event["name"] == "partitions_lost";
        process.await_event(mark, "partitions_lost", PATIENCE, is_lost)?;
        self.say(&format!("{name} was paused too long and knows it"));
        self.members.push((name.into(), peer));
        Ok(())
    }

    /// Closes a member.
    pub(crate) fn leave(&mut self, name: &str) -> Outcome {
        let events = match self.take(name) {
            Peer::Thread(thread) => thread.leave()?,
            Peer::Process(mut process) => {
                process.signal(Signal::Term)?;
                // Not its status: Java exits with 143 after SIGTERM whatever its hook did.
                let _status = process.await_exit(PATIENCE)?;
                let events = process.events();
                let said = events.iter().any(|event| event["name"] == "shutdown_complete");
                assert!(said, "{name} did not close: {}", process.tail());
                events
            }
        };
        self.say(&format!("{name} has left"));
        self.gone.push((name.into(), events, Ending::Left));
        Ok(())
    }

    /// Closes all that are left, the last first.
    pub(crate) fn leave_all(&mut self) -> Outcome {
        while let Some((name, _)) = self.members.last() {
            let name = name.clone();
            self.leave(&name)?;
        }
        Ok(())
    }

    /// Waits until the members own all partitions among them, each some.
    pub(crate) fn await_settled(&self) -> Outcome {
        self.await_members("one owner of each partition", |members| {
            let owned: Vec<BTreeSet<Partition>> =
                members.iter().map(|(_, peer)| peer.look(ledger::owned)).collect();
            let all: BTreeSet<&Partition> = owned.iter().flatten().collect();
            let count: usize = owned.iter().map(BTreeSet::len).sum();
            let each = owned.iter().all(|owned| !owned.is_empty());
            each && count == self.partitions && all.len() == count
        })?;
        self.say("settled");
        Ok(())
    }

    /// Waits until all that were ever in the group have consumed `count` different records together.
    pub(crate) fn await_consumed(&self, count: u64) -> Outcome {
        let gone: u64 = self.gone.iter().map(|(_, events, _)| ledger::consumed(events)).sum();
        self.await_members(&format!("{count} records"), |members| {
            let here: u64 = members.iter().map(|(_, peer)| peer.look(ledger::consumed)).sum();
            // Which of them are different is only worth counting when they may be enough.
            here + gone >= count && self.distinct() >= count
        })?;
        self.say("all is read");
        Ok(())
    }

    /// How many different records were consumed so far; an event that is not well formed counts
    /// none, and [`Meeting::settle_account`] says so.
    fn distinct(&self) -> u64 {
        let mut ledger = Ledger::default();
        let gone = self.gone.iter().all(|(_, events, _)| ledger.add(events).is_ok());
        let mut here = self.members.iter();
        let here = gone && here.all(|(_, peer)| peer.look(|events| ledger.add(events).is_ok()));
        if here { ledger.distinct() } else { 0 }
    }

    /// Waits until each member has consumed something.
    pub(crate) fn await_part_of_each(&self) -> Outcome {
        self.await_members("part of each member", |members| {
            members.iter().all(|(_, peer)| peer.look(ledger::consumed) > 0)
        })
    }

    /// Holds the account of those who have gone against what was written: `count` records in all.
    /// Nothing is lost, nothing comes twice without excuse; and what evenkeel's members did is what
    /// the model permits. (Those on threads have seen to that themselves.)
    pub(crate) fn settle_account(&self, count: u64) -> Outcome {
        let mut ledger = Ledger::default();
        let count_of = |wanted: &dyn Fn(&Value) -> bool| {
            let events = self.gone.iter().flat_map(|(_, events, _)| events);
            events.filter(|event| wanted(event)).count()
        };
        for (name, events, ending) in &self.gone {
            ledger.add_ended(events, *ending).map_err(|error| format!("{name}: {error}"))?;
            let mut errors: BTreeMap<String, usize> = BTreeMap::new();
            for error in events.iter().filter_map(|event| event["error"].as_str()) {
                *errors.entry(error.to_owned()).or_default() += 1;
            }
            for (error, times) in errors {
                self.say(&format!("{name}, {times} times: {error}"));
            }
        }
        self.say(&format!(
            "{} records read, {} of them again after a kill or a loss; told lost {} times, {} commits failed",
            ledger.distinct(),
            ledger.repeated(),
            count_of(&|event| event["name"] == "partitions_lost"),
            count_of(&|event| event["name"] == "offsets_committed" && event["success"] == false),
        ));
        for (name, events, _) in &self.gone {
            for event in events.iter().filter(|event| event["name"] == "run_permitted") {
                self.say(&format!("{name}: a permitted run of {} events", event["events"]));
            }
        }
        for (name, file) in &self.recorded {
            let events = validated::check(&std::fs::read_to_string(file)?)
                .map_err(|why| format!("the run of {name} is {why}"))?;
            self.say(&format!("{name}: a permitted run of {events} events"));
        }
        assert_eq!(ledger.gaps(), Vec::<String>::new(), "what is lost");
        assert_eq!((ledger.distinct(), ledger.duplicates()), (count, 0), "{:?}", ledger.repeats());
        Ok(())
    }

    /// Says what happens, with the time since the beginning.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("{} [{:5.1} s] {what}", self.name, self.begin.elapsed().as_secs_f64());
    }

    fn await_members(&self, what: &str, holds: impl Fn(&[(String, Peer)]) -> bool) -> Outcome {
        let ended = || self.members.iter().find(|(_, peer)| peer.has_ended());
        let came = process::until(PATIENCE, || holds(&self.members) || ended().is_some());
        if let Some((name, peer)) = ended() {
            return Err(format!("{name} ended before {what}: {}", peer.last_words()).into());
        }
        let report = |(name, peer): &(String, Peer)| {
            peer.look(|events| {
                let (owned, consumed) = (ledger::owned(events), ledger::consumed(events));
                format!("{name} owns {owned:?} and has consumed {consumed}")
            })
        };
        let reports = || self.members.iter().map(report).collect::<Vec<_>>().join("\n");
        if came { Ok(()) } else { Err(format!("no {what} in time:\n{}", reports()).into()) }
    }

    fn take(&mut self, name: &str) -> Peer {
        let at = self.members.iter().position(|(other, _)| other == name).expect("it is a member");
        self.members.remove(at).1
    }
}

impl Peer {
    fn look<T>(&self, look: impl FnOnce(&[Value]) -> T) -> T {
        match self {
            Self::Thread(thread) => thread.look(look),
            Self::Process(process) => process.look(look),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Thread(thread) => thread.has_ended(),
            Self::Process(process) => process.has_ended(),
        }
    }

    fn last_words(&self) -> String {
        match self {
            Self::Thread(thread) => thread.look(|events| format!("{:?}", events.last())),
            Self::Process(process) => process.tail(),
        }
    }
}
