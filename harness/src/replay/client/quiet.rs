//! Time and quiet: one runtime in which everything lives, whose clock stands still unless a replay
//! waits for a date.
//!
//! When the runtime has nothing left to run it parks. A replay that waits for quiet is woken by
//! that very moment, and before the paused clock could jump: so quiet is known, not guessed.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Builder, Runtime};

/// Who waits until nothing else can run.
#[derive(Clone, Debug, Default)]
pub(in crate::replay) struct Quiet(Arc<Mutex<Option<Waker>>>);

impl Quiet {
    /// Waits until no other task can run. Time stands still meanwhile.
    pub(in crate::replay) fn come(&self) -> Coming<'_> {
        Coming { quiet: self, waits: false }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_parked(&self) {
        let waiting = self.waiting().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// The future of [`Quiet::come`].
#[derive(Debug)]
pub(in crate::replay) struct Coming<'a> {
    quiet: &'a Quiet,
    waits: bool,
}

impl Future for Coming<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.quiet.waiting();
        if self.waits && waiting.is_none() {
            return Poll::Ready(());
        }
        *waiting = Some(context.waker().clone());
        drop(waiting);
        self.waits = true;
        Poll::Pending
    }
}

/// A runtime of one thread whose clock stands still, and its quiet.
///
/// # Panics
/// The system has no memory for it.
pub(in crate::replay) fn runtime() -> (Runtime, Quiet) {
    let quiet = Quiet::default();
    let parked = quiet.clone();
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(move || parked.on_parked())
        .build();
    (runtime.expect("a runtime without I/O opens nothing"), quiet)
}

#[cfg(test)]
mod tests {
    use super::runtime;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    #[test]
    fn quiet_comes_when_everything_that_can_run_has_run_and_before_the_clock_moves() {
        let (runtime, quiet) = runtime();
        runtime.block_on(async {
            let started = Instant::now();
            let turns = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&turns);
            let task = tokio::spawn(async move {
                for _ in 0..1_000 {
                    counted.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                sleep(Duration::from_secs(5)).await;
                counted.store(0, Ordering::Relaxed);
            });
            quiet.come().await;
            assert_eq!(turns.load(Ordering::Relaxed), 1_000);
            quiet.come().await;
            assert_eq!(started.elapsed(), Duration::ZERO);
            sleep(Duration::from_secs(5)).await;
            quiet.come().await;
            assert_eq!(turns.load(Ordering::Relaxed), 0);
            assert_eq!(started.elapsed(), Duration::from_secs(5));
            assert!(task.is_finished());
        });
    }
}
