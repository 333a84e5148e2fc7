//! Records one by one, as a stream.

use crate::consumer::{Consumer, InsidePoll, News};
use crate::error::PollError;
use crate::records::OwnedRecord;
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

/// The records of a [`Consumer`] one by one; made by [`Consumer::records`].
///
/// A record is released, for auto-commit, when the delivery it came with is used up and the next
/// record is asked for; `commit` covers every record that was yielded. After an error that `poll`
/// could be called after, the stream goes on; after the consumer's end it yields that error once
/// and ends.
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct RecordStream<'a> {
    consumer: &'a mut Consumer,
    /// While the stream waits for the background it is inside of a poll.
    inside: Option<(InsidePoll, Instant)>,
    ended: bool,
}

impl<'a> RecordStream<'a> {
    pub(crate) fn new(consumer: &'a mut Consumer) -> Self {
        Self { consumer, inside: None, ended: false }
    }

    /// The next record, for those who need no combinators, waited for as long as it takes. Cancel-safe,
    /// as `poll` is.
    pub async fn next(&mut self) -> Option<Result<OwnedRecord, PollError>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<OwnedRecord, PollError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            if let Some((_, began)) = &this.inside
                && this.consumer.attendance().has_records()
            {
                this.consumer.attendance().tell_polled(*began);
            }
            if let Some(record) = this.consumer.attendance().take_record() {
                this.inside = None;
                return Poll::Ready(Some(Ok(record)));
            }
            match &mut this.inside {
                Some((inside, _)) => inside.renew(),
                None => {
                    let began = Instant::now();
                    let inside = ready!(this.consumer.poll_enter(context));
                    this.inside = Some((inside, began));
                }
            }
            match ready!(this.consumer.poll_attend(context)) {
                Some(News::Failed(error)) => {
                    this.inside = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(News::Delivered | News::Assigned) => {}
                None => {
                    this.ended = true;
                    this.inside = None;
                    return Poll::Ready(Some(Err(this.consumer.ended())));
                }
            }
        }
    }
}
