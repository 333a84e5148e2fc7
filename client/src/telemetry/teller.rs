//! Who tells `tracing`, and the application's meter, what the background has to say.
//!
//! Decides on which thread. A subscriber, or a meter, is the application's code: one that is slow, or
//! writes to a pipe that nobody reads, must not keep heartbeats waiting. So the background of a thread
//! of its own puts what there is to tell into a bounded queue, and another thread tells it, one for
//! each of the two; what finds no room is counted and not told. A background that was put on a runtime
//! of the application's tells at once: it is at the mercy of what runs there anyway, and under paused
//! time what was told is there at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tracing::warn;

/// Something to tell.
pub(crate) trait Tell: Send + 'static {
    /// Who is told, as a thread and a warning name him.
    const WHOM: &'static str;
    /// How much of it waits to be told at most.
    const QUEUE_MAX: usize;

    /// Tells it to whoever listens on this thread.
    fn tell(self);
}

/// Takes what is to be told. Clones share the queue.
#[derive(Debug)]
pub(crate) struct Teller<W>(Option<Arc<Aside<W>>>);

impl<W> Clone for Teller<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Tells on a thread of its own, which begins with the first word and ends after the last one.
#[derive(Debug)]
struct Aside<W> {
    /// Inside: `None`, if there could be no thread.
    queue: OnceLock<Option<SyncSender<Entry<W>>>>,
    /// Since the last warning.
    untold: Arc<AtomicU64>,
    untold_ever: Arc<AtomicU64>,
}

/// What waits in the queue, whose memory is all there when it begins.
#[derive(Debug)]
enum Entry<W> {
    Word(W),
    /// Everything before it was told.
    Flushed(SyncSender<()>),
}

impl<W: Tell> Teller<W> {
    /// One that tells at once, on whichever thread asks.
    pub(crate) fn here() -> Self {
        Self(None)
    }

    /// One that tells elsewhere, and counts in `untold_ever` what it could not.
    pub(crate) fn aside(untold_ever: Arc<AtomicU64>) -> Self {
        let (queue, untold) = (OnceLock::new(), Arc::default());
        Self(Some(Arc::new(Aside { queue, untold, untold_ever })))
    }

    /// Has this told, or counts that it was not. Never waits nor allocates where it tells elsewhere,
    /// but for the queue with the first word.
    pub(crate) fn tell(&self, word: W) {
        let Some(aside) = &self.0 else { return word.tell() };
        let queue = aside.queue.get_or_init(|| begin(&aside.untold));
        let is_taken =
            queue.as_ref().is_some_and(|queue| queue.try_send(Entry::Word(word)).is_ok());
        if !is_taken {
            aside.untold.fetch_add(1, Ordering::Relaxed);
            aside.untold_ever.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything was told, for at most [`FLUSH_MAX`]: a process may end with its
    /// consumer.
    pub(crate) fn flush(&self) {
        let queue = self.0.as_ref().and_then(|aside| aside.queue.get()?.as_ref());
        if let Some(queue) = queue {
            let (told, all) = sync_channel(1);
            if queue.try_send(Entry::Flushed(told)).is_ok() {
                // An error is the end of the time, or of the thread.
                let _ = all.recv_timeout(FLUSH_MAX);
            }
        }
    }
}

fn begin<W: Tell>(untold: &Arc<AtomicU64>) -> Option<SyncSender<Entry<W>>> {
    let (queue, entries) = sync_channel(W::QUEUE_MAX);
    let untold = Arc::clone(untold);
    let thread = thread::Builder::new().name(format!("tells {}", W::WHOM));
    thread.spawn(move || tell_all(&entries, &untold)).ok()?;
    Some(queue)
}

fn tell_all<W: Tell>(entries: &Receiver<Entry<W>>, untold: &AtomicU64) {
    for entry in entries {
        let word = match entry {
            Entry::Word(word) => word,
            Entry::Flushed(told) => {
                // Nobody waits for longer than he said.
                let _ = told.send(());
                continue;
            }
        };
        let tell = || {
            word.tell();
            let count = untold.swap(0, Ordering::Relaxed);
            if count > 0 {
                let to = W::WHOM;
                warn!(target: "evenkeel", count, to, "untold, since what listens is too slow");
            }
        };
        // A subscriber that panics has said so, and loses one word by it.
        let _ = catch_unwind(AssertUnwindSafe(tell));
    }
}

/// For how long the end waits for what listens: more than telling a full queue takes (1 to 2 µs each,
/// `tracing-opentelemetry`), less than anybody notices.
const FLUSH_MAX: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::Tell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Barrier};
    use std::thread;

    type Teller = super::Teller<Word>;

    const QUEUE_MAX: usize = 100;

    /// Whatever a test wants to happen on the thread that tells.
    struct Word(Box<dyn FnOnce() + Send>);

    impl Tell for Word {
        const WHOM: &'static str = "nobody";
        const QUEUE_MAX: usize = QUEUE_MAX;

        fn tell(self) {
            (self.0)();
        }
    }

    fn word(tell: impl FnOnce() + Send + 'static) -> Word {
        Word(Box::new(tell))
    }

    #[test]
    fn what_is_told_here_is_told_at_once_and_on_the_same_thread() {
        let (told, words) = channel();
        let said = move || told.send(thread::current().id()).expect("it is awaited");
        Teller::here().tell(word(said));
        assert_eq!(words.try_recv(), Ok(thread::current().id()));
    }

    #[test]
    fn who_tells_aside_does_not_wait_for_who_listens_and_counts_what_found_no_room() {
        let teller = Teller::aside(Arc::default());
        let (begun, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (first, held) = (Arc::clone(&begun), Arc::clone(&gate));
        teller.tell(word(move || {
            first.wait();
            held.wait();
        }));
        begun.wait();
        let told = Arc::new(AtomicUsize::new(0));
        for _ in 0..QUEUE_MAX + 3 {
            let told = Arc::clone(&told);
            teller.tell(word(move || {
                told.fetch_add(1, Ordering::Relaxed);
            }));
        }
        assert_eq!(told.load(Ordering::Relaxed), 0, "all of it waits");
        let aside = teller.0.as_ref().expect("it tells aside");
        for count in [&aside.untold, &aside.untold_ever] {
            assert_eq!(count.load(Ordering::Relaxed), 3);
        }
        gate.wait();
        // In order: what comes behind comes after.
        let (last, all) = channel();
        let mut is_told = false;
        while !is_told {
            let last = last.clone();
            // Until there is room.
            teller.tell(word(move || {
                let _ = last.send(());
            }));
            is_told = all.try_recv().is_ok();
            thread::yield_now();
        }
        assert_eq!(told.load(Ordering::Relaxed), QUEUE_MAX);
    }

    #[test]
    fn who_listens_and_panics_loses_one_word() {
        let teller = Teller::aside(Arc::default());
        let (told, words) = channel();
        teller.tell(word(|| panic!("on purpose")));
        teller.tell(word(move || told.send(()).expect("it is awaited")));
        assert_eq!(words.recv(), Ok(()));
    }

    #[test]
    fn the_end_waits_until_all_is_told() {
        let teller = Teller::aside(Arc::default());
        let told = Arc::new(AtomicUsize::new(0));
        for _ in 0..QUEUE_MAX - 1 {
            let told = Arc::clone(&told);
            teller.tell(word(move || {
                told.fetch_add(1, Ordering::Relaxed);
            }));
        }
        teller.flush();
        assert_eq!(told.load(Ordering::Relaxed), QUEUE_MAX - 1);
    }
}
