//! The newest applied state, published by a pointer swap, and the word that it has changed.
//!
//! Promises: readers take the present image without a lock and without making the state machine wait; an image never
//! changes once taken. Waiters are told of a revision only after the image that includes it is published.

use std::sync::Arc;

use arc_swap::ArcSwap;
use quorate_machine::Image;
use quorate_types::Revision;
use tokio::sync::watch;

/// Where the state machine publishes and everybody reads; cheap to clone.
#[derive(Clone)]
pub(crate) struct Published {
    image: Arc<ArcSwap<Image>>,
    revision: watch::Sender<Revision>,
}

impl Published {
    pub(crate) fn new(image: Image) -> Self {
        let revision = watch::Sender::new(image.revision());
        Self {
            image: Arc::new(ArcSwap::from_pointee(image)),
            revision,
        }
    }

    /// Replaces what readers see. Watchers learn of it by [`Self::announce`], which comes after the answers.
    pub(crate) fn publish(&self, image: Image) {
        self.image.store(Arc::new(image));
    }

    /// Wakes the watchers, if the revision has moved.
    pub(crate) fn announce(&self) {
        let revision = self.image.load().revision();
        self.revision
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }

    /// What readers see now.
    pub(crate) fn image(&self) -> Image {
        Image::clone(&self.image.load())
    }

    /// Tells of announced revisions.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }
}
