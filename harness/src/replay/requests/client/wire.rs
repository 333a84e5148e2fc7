//! One connection between the consumer and a broker: frames wait on it, in both directions, until the
//! trace lets them pass.

use super::super::view::{LineView, Phase, Said};
use crate::replay::client::links::next_frame;
use crate::replay::client::stream::Far;
use bytes::{Bytes, BytesMut};
use evenkeel_spec::rules::requests::Line;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;

/// A connection, or an attempt.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// `None`: it leads to the other broker.
    pub(super) line: Option<Line>,
    /// What becomes of the attempt is not decided.
    pub(super) attempt: Option<oneshot::Sender<bool>>,
    ends: Option<(Far, DuplexStream)>,
    /// Bytes of a request that is not complete.
    written: BytesMut,
    /// Bytes of an answer that is not complete.
    read: BytesMut,
    /// Unanswered requests, oldest first.
    pub(super) messages: VecDeque<Message>,
}

/// A request, and what the broker answers.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) said: Said,
    frame: Bytes,
    is_read: bool,
    answer: Option<Bytes>,
}

impl Wire {
    /// An attempt that waits for what becomes of it.
    pub(super) fn knocking(line: Option<Line>, attempt: oneshot::Sender<bool>) -> Self {
        Self { line, attempt: Some(attempt), ..Self::default() }
    }

    /// It is made.
    pub(super) fn on_connected(&mut self, far: Far, broker: DuplexStream) {
        self.ends = Some((far, broker));
    }

    /// The consumer wrote these bytes.
    pub(super) fn on_written(&mut self, bytes: &[u8], said: impl Fn(&Bytes) -> Said) {
        self.written.extend_from_slice(bytes);
        while let Some(frame) = next_frame(&mut self.written) {
            let said = said(&frame);
            self.messages.push_back(Message { said, frame, is_read: false, answer: None });
        }
    }

    /// Gives the broker the oldest request that it has not read; whether there is one.
    pub(super) fn forward(&mut self) -> bool {
        let message = self.messages.iter_mut().find(|message| !message.is_read);
        let (Some(message), Some((_, broker))) = (message, &mut self.ends) else { return false };
        message.is_read = true;
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(broker).poll_write(&mut context, &message.frame);
        // A broker that is gone does not answer either, which shows.
        if let Poll::Ready(Ok(count)) = written {
            assert_eq!(count, message.frame.len(), "the broker's buffer holds a trace's requests");
        }
        true
    }

    /// Takes what the broker has answered; whether there was anything.
    pub(super) fn take_answers(&mut self) -> bool {
        let Some((_, broker)) = &mut self.ends else { return false };
        let mut has_come = false;
        loop {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let mut context = Context::from_waker(Waker::noop());
            let read = Pin::new(&mut *broker).poll_read(&mut context, &mut buffer);
            if !matches!(read, Poll::Ready(Ok(()))) || buffer.filled().is_empty() {
                break;
            }
            self.read.extend_from_slice(buffer.filled());
        }
        while let Some(frame) = next_frame(&mut self.read) {
            let mut waiting = self.messages.iter_mut().filter(|message| message.is_read);
            if let Some(message) = waiting.find(|message| message.answer.is_none()) {
                message.answer = Some(frame);
                has_come = true;
            }
        }
        has_come
    }

    /// Gives the consumer the oldest answer; whether there is one. The broker throttles for so many
    /// milliseconds, unless it said so itself.
    pub(super) fn answer(&mut self, throttle_ms: u32) -> bool {
        let Some((far, _)) = &self.ends else { return false };
        let answer = self.messages.front().and_then(|message| message.answer.clone());
        let Some(answer) = answer else { return false };
        let message = self.messages.pop_front().expect("it has a front");
        if throttle_ms == 0 || message.said == Said::Handshake {
            far.deliver(&answer);
        } else {
            far.deliver(&throttled(&answer, throttle_ms));
        }
        true
    }

    /// Whether the oldest request has its answer.
    pub(super) fn is_answered(&self) -> bool {
        self.messages.front().is_some_and(|message| message.answer.is_some())
    }

    /// The consumer reads its end.
    pub(super) fn cut(&self) {
        if let Some((far, _)) = &self.ends {
            far.cut();
        }
    }

    pub(super) fn view(&self) -> LineView {
        let phase = if self.ends.is_some() { Phase::Open } else { Phase::Connecting };
        let messages = self.messages.iter().map(|m| (m.said.clone(), m.is_read)).collect();
        LineView { phase, messages }
    }
}

/// The same answer of a broker that throttles. Of every version that the consumer speaks of what a
/// trace asks, but of `ApiVersions`, the throttle time comes first: after the length, the correlation
/// id and the (empty) tagged fields of the header.
fn throttled(answer: &[u8], throttle_ms: u32) -> Vec<u8> {
    let mut answer = answer.to_vec();
    let ms = i32::try_from(throttle_ms).unwrap_or(i32::MAX).to_be_bytes();
    answer[THROTTLE_AT..THROTTLE_AT + 4].copy_from_slice(&ms);
    answer
}

const THROTTLE_AT: usize = 4 + 4 + 1;

/// Bytes that are read at once: most answers whole.
const READ_BYTES: usize = 1024;
