//! Being told that keys have changed, for who then looks at the state.
//!
//! Promises: whoever has asked for a key and then takes a state is told of every change of the key that this state does not
//! have; several changes may be told as one. Left out on purpose: what has changed, and the history.

use std::sync::Arc;

use super::hub::{Feed, Full, Hub};
use super::keys::Keys;

/// See the module. Until it is dropped.
pub(crate) struct Notices(Feed);

impl Notices {
    pub(super) fn open(hub: &Arc<Hub>) -> Result<Self, Full> {
        hub.open().map(Self)
    }

    /// Of this key, too.
    pub(crate) fn also(&mut self, key: &[u8]) -> Result<(), Full> {
        Keys::of(key, &[]).map_or(Ok(()), |keys| self.0.subscribe(&keys))
    }

    /// Not of this key any more.
    pub(crate) fn no_longer(&mut self, key: &[u8]) {
        if let Some(keys) = Keys::of(key, &[]) {
            self.0.unsubscribe(&keys);
        }
    }

    /// Waits until one of the keys has changed. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.0.inbox().news().await;
    }
}
