//! What the handle does with what the background tells it: keeps deliveries until they are
//! returned, runs callbacks, turns faults into errors.

use crate::background::{Assigned, CallbackSpan, Delivery, Event, Told};
use crate::context::RebalanceContext;
use crate::error::PollError;
use crate::link::Link;
use crate::listener::{ErasedListener, Finished, ListenerMethod, Running};
use crate::records::{OwnedRecord, Records};
use crate::telemetry::{Handling, Links, Processing, Queued, polled};
use evenkeel_core::{Callback, Command, Incarnation};
use evenkeel_spec::words::{Committed, GroupId, Offset, TopicPartition};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

/// What the handle has and no future does.
pub(crate) struct Attendance {
    group: GroupId,
    link: Arc<Link>,
    told: Told,
    listener: Option<Box<dyn ErasedListener>>,
    running: Option<RunningCallback>,
    /// The delivery that is being returned.
    delivery: Option<Delivery>,
    /// The records of the delivery's first part, where a stream is in the middle of it.
    streamed: VecDeque<OwnedRecord>,
    /// What a call was told that returns none of it: for the next poll.
    failed: VecDeque<PollError>,
    /// The empty note of streamed offsets, made once.
    no_metadata: Arc<str>,
    links: Links,
    /// The application works on what the last poll returned.
    processing: Option<Processing>,
}

impl fmt::Debug for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendance")
            .field("listens", &self.listener.is_some())
            .field("running", &self.running.as_ref().map(|running| running.method))
            .field("delivery", &self.delivery.as_ref().map(|delivery| delivery.number))
            .finish_non_exhaustive()
    }
}

/// A callback that has not returned.
struct RunningCallback {
    incarnation: Incarnation,
    method: ListenerMethod,
    partitions: Vec<TopicPartition>,
    future: Running,
    span: CallbackSpan,
    /// Its listener was replaced meanwhile.
    is_replaced: bool,
    /// The application is busy with it.
    _handling: Handling,
}

/// What became of something that the background told.
#[derive(Debug)]
pub(crate) enum News {
    /// A delivery waits to be returned.
    Delivered,
    /// The assignment changed, or a callback returned well.
    Assigned,
    /// The application must know.
    Failed(PollError),
}

impl Attendance {
    pub(crate) fn new(group: GroupId, link: Arc<Link>, told: Told, links: Links) -> Self {
        Self {
            links,
            processing: None,
            group,
            link,
            told,
            listener: None,
            running: None,
            delivery: None,
            streamed: VecDeque::new(),
            failed: VecDeque::new(),
            no_metadata: "".into(),
        }
    }

    /// Replaces the listener. A callback of the old one that is not over goes on in the next poll, as
    /// callbacks do: its end is a step of the group, which happens inside of a call only.
    pub(crate) fn set_listener(&mut self, listener: Option<Box<dyn ErasedListener>>) {
        if let Some(running) = &mut self.running {
            running.is_replaced = true;
        }
        self.listener = listener;
    }

    /// A call begins: what was returned is done with, and a callback that runs already was suspended
    /// when the call before ended.
    pub(crate) fn enter(&mut self) {
        self.processing = None;
        self.drop_ended();
        if let Some(running) = &mut self.running {
            running.span.resumed();
        }
    }

    /// Goes on with the callback that runs, or takes the next event. `None`: the background is gone,
    /// and with it the right to what it told before: others may own the partitions by now.
    pub(crate) fn poll_next(
        &mut self,
        assigned: &mut Assigned,
        context: &mut Context<'_>,
    ) -> Poll<Option<News>> {
        loop {
            if self.poll_end(context).is_ready() {
                return Poll::Ready(None);
            }
            if let Some(running) = &mut self.running {
                let RunningCallback { future, span, .. } = running;
                let finished = ready!(span.within(|| future.as_mut().poll(context)));
                return Poll::Ready(Some(self.on_finished(finished)));
            }
            if let Some(error) = self.failed.pop_front() {
                return Poll::Ready(Some(News::Failed(error)));
            }
            let Some(event) = ready!(self.told.events.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            if let Some(news) = self.on_event(event, assigned) {
                return Poll::Ready(Some(news));
            }
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.told.end.is_terminated() {
            // There is no value: all that can come is the end.
            let _ = ready!(Pin::new(&mut self.told.end).poll(context));
        }
        Poll::Ready(())
    }

    /// Takes the events that are there, up to a callback. Records and failures wait for the next
    /// poll.
    pub(crate) fn take_what_came(&mut self, assigned: &mut Assigned) {
        while self.running.is_none() {
            let Ok(event) = self.told.events.try_recv() else { return };
            if let Some(News::Failed(error)) = self.on_event(event, assigned) {
                self.keep([error]);
            }
        }
    }

    /// The next poll tells it. Few wait: the background tells one in each poll.
    pub(crate) fn keep(&mut self, errors: impl IntoIterator<Item = PollError>) {
        self.failed.extend(errors);
    }

    /// `None`: a callback was begun.
    fn on_event(&mut self, event: Queued<Event>, assigned: &mut Assigned) -> Option<News> {
        let (event, handling) = event.take(Event::name);
        match event {
            Event::Deliver(delivery) => {
                self.delivery = Some(delivery);
                self.drop_ended();
                if self.delivery.as_ref().is_some_and(Delivery::is_empty) {
                    self.discard();
                }
                Some(News::Delivered)
            }
            Event::Failed(fault) => Some(News::Failed(PollError::of(fault, &self.group))),
            Event::Assigned(now) => {
                if let Some(now) = now.read() {
                    *assigned = now;
                    self.link.retain_partial(|partition| assigned.partitions.contains(partition));
                }
                Some(News::Assigned)
            }
            Event::Call { incarnation, callback, partitions, within } => {
                let span = CallbackSpan::begin(within, self.group.as_str(), callback, &partitions);
                let called = (incarnation, callback, span, handling);
                self.begin(called, partitions, &assigned.partitions);
                None
            }
        }
    }

    fn begin(
        &mut self,
        (incarnation, callback, span, handling): (Incarnation, Callback, CallbackSpan, Handling),
        partitions: BTreeSet<TopicPartition>,
        assignment: &Arc<BTreeSet<TopicPartition>>,
    ) {
        // The core calls nobody where there is no listener; one may just have been taken away.
        let Some(listener) = self.listener.take() else {
            span.end("no listener");
            return self.link.tell(Command::CallbackDone { incarnation, ok: true });
        };
        let method = match callback {
            Callback::Assigned => ListenerMethod::Assigned,
            Callback::Revoked => ListenerMethod::Revoked,
            Callback::Lost(_) => ListenerMethod::Lost,
        };
        let partitions: Vec<_> = partitions.into_iter().collect();
        let context = RebalanceContext::new(&self.link, Arc::clone(assignment));
        let future = listener.run(method, context, partitions.clone());
        self.running = Some(RunningCallback {
            incarnation,
            method,
            partitions,
            future,
            span,
            is_replaced: false,
            _handling: handling,
        });
    }

    fn on_finished(&mut self, finished: Finished) -> News {
        let running = self.running.take().expect("what finished was running");
        let Finished { listener, outcome, has_panicked } = finished;
        if !running.is_replaced {
            self.listener = Some(listener);
        }
        let (incarnation, ok) = (running.incarnation, outcome.is_ok());
        running.span.end(match (ok, has_panicked) {
            (true, _) => "ok",
            (false, false) => "failed",
            (false, true) => "panicked",
        });
        self.link.tell(Command::CallbackDone { incarnation, ok });
        match outcome {
            Ok(()) => News::Assigned,
            Err(error) => News::Failed(PollError::Listener {
                method: running.method,
                partitions: running.partitions,
                reason: error.reason().into(),
            }),
        }
    }

    /// Drops the callback that runs, with the listener; its method.
    pub(crate) fn drop_running(&mut self) -> Option<ListenerMethod> {
        self.running.take().map(|running| {
            running.span.end("dropped");
            running.method
        })
    }

    /// Whether there is a record to return.
    pub(crate) fn has_records(&self) -> bool {
        self.delivery.is_some()
    }

    /// Forgets what waits to be returned, if the background is over: others may own it by now.
    fn drop_orphaned(&mut self) {
        if self.link.is_over() {
            self.streamed.clear();
            self.delivery = None;
        }
    }

    /// A poll that began then hands records over.
    pub(crate) fn tell_polled(&mut self, began: Instant) {
        self.drop_ended();
        let parts = self.delivery.iter().flat_map(|delivery| &delivery.parts);
        let asked = (self.group.as_str(), self.links);
        self.processing = polled(asked, &self.link.metrics, began, parts.map(|part| &part.records));
    }

    /// Everything that is left of the delivery, for a poll that began then.
    pub(crate) fn take_records(&mut self, began: Instant) -> Option<Records> {
        self.tell_polled(began);
        let delivery = self.delivery.take()?;
        self.streamed.clear();
        self.link.set_taken(delivery.number);
        let mut records = Records::default();
        for part in delivery.parts {
            records.push(part.records);
        }
        Some(records)
    }

    /// The next record of the delivery. That it was returned counts at once for `commit`; that it
    /// is released, when the delivery is used up and the next one is asked for.
    pub(crate) fn take_record(&mut self) -> Option<OwnedRecord> {
        loop {
            self.drop_ended();
            let delivery = self.delivery.as_mut()?;
            let part = delivery.parts.first_mut()?;
            if self.streamed.is_empty() && !part.records.is_empty() {
                self.streamed = part.records.iter().map(|record| record.to_owned()).collect();
            }
            if let Some(record) = self.streamed.pop_front() {
                part.records.skip(1);
                let next = Committed {
                    offset: Offset(record.offset.0.saturating_add(1)),
                    leader_epoch: record.leader_epoch,
                    metadata: Arc::clone(&self.no_metadata),
                };
                self.link.set_partial(&record.partition, next);
                return Some(record);
            }
            self.pass_first_part();
        }
    }

    /// The delivery's first part was streamed to its end.
    fn pass_first_part(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        let part = delivery.parts.remove(0);
        let next = Committed {
            offset: part.next_offset,
            leader_epoch: part.leader_epoch,
            metadata: Arc::clone(&self.no_metadata),
        };
        self.link.set_partial(part.records.partition(), next);
    }

    /// Nothing of the delivery may be returned any more.
    pub(crate) fn discard(&mut self) {
        self.streamed.clear();
        if let Some(delivery) = self.delivery.take() {
            self.link.set_taken(delivery.number);
        }
    }

    /// Drops the parts whose lease has ended, and the delivery if nothing is left of it.
    fn drop_ended(&mut self) {
        self.drop_orphaned();
        let Some(delivery) = &mut self.delivery else { return };
        if delivery.parts.first().is_some_and(|part| !part.lease.lasts()) {
            self.streamed.clear();
        }
        delivery.parts.retain(|part| part.lease.lasts());
        if delivery.parts.is_empty() {
            self.discard();
        }
    }
}
