//! Standard output on a thread of its own: who reads it slowly, or not at all, holds up neither
//! heartbeats nor the end.
//!
//! Decides how long a text is waited for: as long as it takes, until the end is asked for, and then
//! [`LAST_WORDS_MAX`] longer. After a text that was not read in that time nothing more is written.

use super::super::Failure;
use super::super::output::emit;
use super::super::signal::Ends;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

/// Writes texts in order, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    texts: mpsc::Sender<Text>,
    patience: Arc<watch::Sender<Patience>>,
}

/// What is to be written, and who waits for that.
#[derive(Debug)]
struct Text {
    text: String,
    done: oneshot::Sender<Result<bool, Failure>>,
}

/// How long readers are waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Patience {
    /// As long as they take.
    Endless,
    /// The end was asked for.
    LastWords,
    /// They do not read.
    Over,
}

impl Writer {
    /// Errors: there is no thread for it.
    pub(super) fn start() -> io::Result<Self> {
        Self::through(emit)
    }

    fn through(write: impl Fn(&str) -> Result<bool, Failure> + Send + 'static) -> io::Result<Self> {
        // Nobody asks for a text before the last one is written, but who was dropped meanwhile.
        let (texts, mut queue) = mpsc::channel::<Text>(1);
        thread::Builder::new().name("stdout".into()).spawn(move || {
            while let Some(Text { text, done }) = queue.blocking_recv() {
                // It was written, whether somebody still waits for that or not.
                let _ = done.send(write(&text));
            }
        })?;
        Ok(Self { texts, patience: Arc::new(watch::channel(Patience::Endless).0) })
    }

    /// Writes a text and flushes it. False when nobody reads any more, or not in time: a part of it
    /// may be written then.
    pub(super) async fn write(&self, text: String) -> Result<bool, Failure> {
        if *self.patience.borrow() == Patience::Over {
            return Ok(false);
        }
        tokio::select! {
            biased;
            written = self.written(text) => written,
            () = self.last_words() => {
                self.patience.send_replace(Patience::Over);
                Ok(false)
            }
        }
    }

    /// As [`Writer::write`], and whether to go on: the end was not asked for meanwhile.
    pub(super) async fn write_until(
        &self,
        ends: &mut Ends,
        text: String,
    ) -> (Result<bool, Failure>, bool) {
        let mut writing = pin!(self.write(text));
        tokio::select! {
            biased;
            written = &mut writing => (written, true),
            () = self.asked(ends) => (writing.await, false),
        }
    }

    /// Waits until the end is asked for. Cancel-safe.
    pub(super) async fn asked(&self, ends: &mut Ends) {
        ends.wait().await;
        self.hurry();
    }

    fn hurry(&self) {
        self.patience.send_if_modified(|patience| {
            let is_first = *patience == Patience::Endless;
            if is_first {
                *patience = Patience::LastWords;
            }
            is_first
        });
    }

    async fn written(&self, text: String) -> Result<bool, Failure> {
        let (done, written) = oneshot::channel();
        let ended = || Failure::World("the thread of standard output has ended".to_owned());
        self.texts.send(Text { text, done }).await.map_err(|_| ended())?;
        written.await.map_err(|_| ended())?
    }

    async fn last_words(&self) {
        let mut patience = self.patience.subscribe();
        // Its sender is `self`.
        let _ = patience.wait_for(|patience| *patience != Patience::Endless).await;
        sleep(LAST_WORDS_MAX).await;
    }
}

/// How long a text may take once the end was asked for: a reader that is alive needs far less.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{LAST_WORDS_MAX, Writer};
    use std::sync::{Arc, Mutex, mpsc};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_text_is_waited_for_until_the_end_is_asked_for_and_a_second_longer() {
        let (let_go, gate) = mpsc::channel::<()>();
        let told = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&told);
        let writer = Writer::through(move |more| {
            // An error: the gate is gone with the test.
            let _ = gate.recv();
            text.lock().expect("nobody panics").push_str(more);
            Ok(true)
        });
        let writer = writer.expect("there are threads");
        let_go.send(()).expect("the thread lives");
        assert_eq!(writer.write("first ".into()).await, Ok(true));

        let asked = tokio::spawn({
            let writer = writer.clone();
            async move { writer.write("second ".into()).await }
        });
        tokio::time::sleep(LAST_WORDS_MAX * 3600).await;
        assert!(!asked.is_finished(), "who reads slowly is waited for");
        let begin = Instant::now();
        writer.hurry();
        assert_eq!(asked.await.expect("it does not panic"), Ok(false));
        assert_eq!(begin.elapsed(), LAST_WORDS_MAX);
        assert_eq!(writer.write("third".into()).await, Ok(false));
        assert_eq!(begin.elapsed(), LAST_WORDS_MAX, "it is not waited for a second time");
        assert_eq!(*told.lock().expect("nobody panics"), "first ");
    }
}
