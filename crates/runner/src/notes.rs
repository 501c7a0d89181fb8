//! Lets a running step write to the journal, which belongs to the run.

use landfall_model::journal::Entry;
use tokio::sync::{mpsc, oneshot};

/// Something to be written, and who waits for that.
pub(crate) struct Note {
    pub(crate) entry: Entry,
    pub(crate) written: oneshot::Sender<()>,
}

/// Where steps hand in what they want written.
#[derive(Clone)]
pub(crate) struct Notes(mpsc::Sender<Note>);

/// A way from steps to the run's journal.
pub(crate) fn notes() -> (Notes, mpsc::Receiver<Note>) {
    let (notes, noted) = mpsc::channel(64);
    (Notes(notes), noted)
}

impl Notes {
    /// Has something written, and returns once it is on record. When the journal fails the run ends, and
    /// with it whoever waits here.
    pub(crate) async fn write(&self, entry: Entry) {
        let (written, is_written) = oneshot::channel();
        if self.0.send(Note { entry, written }).await.is_err() || is_written.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
