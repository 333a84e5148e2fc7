//! What the application asks for, as far as the group's side hears of it.

use super::{Recorder, line};
use evenkeel_core::{Command, SeekTo, Time};

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
    match command {
        Command::Subscribe { call, topics, listener } => recorder
            .event(now, "subscribe")
            .plain("call", call.0)
            .texts("topics", topics)
            .plain("listens", listener)
            .end(),
        Command::SubscribePattern { call, pattern, listener } => recorder
            .event(now, "subscribe")
            .plain("call", call.0)
            .texts("topics", [""; 0])
            .text("pattern", pattern)
            .plain("listens", listener)
            .end(),
        Command::Assign { call, taken, partitions } => recorder
            .event(now, "assign")
            .plain("call", call.0)
            .plain("taken", taken)
            .texts("partitions", partitions)
            .end(),
        Command::Unsubscribe { call, taken } => {
            recorder.event(now, "unsubscribe").plain("call", call.0).plain("taken", taken).end();
        }
        Command::Poll { taken } => recorder.event(now, "poll").plain("taken", taken).end(),
        Command::PollEnded => recorder.event(now, "poll_ended").end(),
        Command::CallbackDone { incarnation, ok } => recorder
            .event(now, "callback_ended")
            .plain("callback", incarnation.0)
            .plain("ok", ok)
            .end(),
        Command::Commit { call, taken, offsets, timeout_ms: _ } => {
            let mut line = recorder.event(now, "commit");
            line = line.plain("call", call.0).plain("taken", taken);
            if let Some(offsets) = offsets {
                line = line.object("offsets", offsets, ToString::to_string, |text, offset| {
                    line::committed(text, offset);
                });
            }
            line.end();
        }
        Command::Seek { call, partition, to } => {
            let mut line = recorder.event(now, "seek");
            line = line.plain("call", call.0).text("partition", &partition.to_string());
            line = match to {
                SeekTo::Offset(offset) => line.plain("to", offset.0),
                SeekTo::OffsetAndEpoch(offset, epoch) => {
                    line.plain("to", offset.0).plain("leader_epoch", epoch.0)
                }
                SeekTo::Beginning | SeekTo::End => line,
            };
            line.end();
        }
        Command::Close { taken, timeout_ms: _ } => {
            recorder.event(now, "close").plain("taken", taken).end();
        }
        Command::Abandon { call } => {
            if recorder.calls.remove(call) {
                recorder.event(now, "abandon").plain("call", call.0).end();
            }
        }
        Command::Dropped => recorder.event(now, "drop").end(),
        // Nothing of the group's.
        Command::Position { .. }
        | Command::Committed { .. }
        | Command::Offsets { .. }
        | Command::Topics { .. }
        | Command::DescribeGroup { .. }
        | Command::Lag { .. }
        | Command::Pause { .. }
        | Command::Resume { .. } => {}
    }
}
