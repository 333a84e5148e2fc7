//! What the application asks for, as far as the group's side hears of it.

use super::Recorder;
use super::event::Event;
use super::words::{Offsets, Texts};
use evenkeel_core::{Command, SeekTo, Time};
use std::collections::BTreeSet;

pub(super) fn write(recorder: &mut Recorder, now: Time, command: &Command) {
    if let Command::Subscribe { call, .. }
    | Command::SubscribePattern { call, .. }
    | Command::Assign { call, .. }
    | Command::Unsubscribe { call, .. }
    | Command::Commit { call, .. }
    | Command::Seek { call, .. } = command
    {
        recorder.calls.insert(*call);
    }
    if let Command::Abandon { call } = command
        && !recorder.calls.remove(call)
    {
        return;
    }
    let none = BTreeSet::new();
    let event = match command {
        Command::Subscribe { call, topics, listener } => Event::Subscribe {
            call: call.0,
            topics: Texts(topics),
            pattern: None,
            listens: *listener,
        },
        Command::SubscribePattern { call, pattern, listener } => Event::Subscribe {
            call: call.0,
            topics: Texts(&none),
            pattern: Some(pattern),
            listens: *listener,
        },
        Command::Assign { call, taken, partitions } => {
            Event::Assign { call: call.0, taken: *taken, partitions: Texts(partitions) }
        }
        Command::Unsubscribe { call, taken } => Event::Unsubscribe { call: call.0, taken: *taken },
        Command::Poll { taken } => Event::Poll { taken: *taken },
        Command::PollEnded => Event::PollEnded,
        Command::CallbackDone { incarnation, ok } => {
            Event::CallbackEnded { callback: incarnation.0, ok: *ok }
        }
        Command::Commit { call, taken, offsets, timeout_ms: _ } => {
            Event::Commit { call: call.0, taken: *taken, offsets: offsets.as_ref().map(Offsets) }
        }
        Command::Seek { call, partitions, to } => {
            let (to, leader_epoch) = match to {
                SeekTo::Offset(offset) => (Some(offset.0), None),
                SeekTo::OffsetAndEpoch(offset, epoch) => (Some(offset.0), Some(epoch.0)),
                SeekTo::Beginning | SeekTo::End => (None, None),
            };
            Event::Seek { call: call.0, partitions: Texts(partitions), to, leader_epoch }
        }
        Command::Close { taken, timeout_ms: _ } => Event::Close { taken: *taken },
        Command::Abandon { call } => Event::Abandon { call: call.0 },
        Command::Dropped => Event::Drop,
        // Nothing of the group's.
        Command::Position { .. }
        | Command::Committed { .. }
        | Command::Offsets { .. }
        | Command::Topics { .. }
        | Command::DescribeGroup { .. }
        | Command::Lag { .. }
        | Command::Pause { .. }
        | Command::Resume { .. } => return,
    };
    recorder.event(now, event);
}
