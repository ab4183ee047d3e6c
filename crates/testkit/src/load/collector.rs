//! The cluster's history, from one watch.
//!
//! Promises: changes in the order of their delivery, from the revision on that was asked for, up to the change of the
//! marker. A watch that ends early, or begins anew, is an error and never a gap.

use std::time::Duration;

use quorate_client::{Client, OnCompaction, WatchItem, v1};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PROPERTY;
use crate::error::KitError;
use crate::record::Change;

#[derive(Debug)]
pub(super) struct Collector {
    task: JoinHandle<()>,
    collected: oneshot::Receiver<Result<Vec<Change>, String>>,
}

impl Collector {
    /// Collects changes of what is called `prefix...`, until the database `marker` changes.
    pub(super) fn start(client: &Client, from_revision: u64, prefix: &str, marker: String) -> Self {
        let kinds = [v1::ResourceKind::Database, v1::ResourceKind::Collection];
        let request = v1::WatchRequest {
            from_revision,
            kinds: kinds.map(Into::into).to_vec(),
            with_state: false,
        };
        let mut watch = client.watch(request, OnCompaction::End);
        let prefix = prefix.to_owned();
        let (done, collected) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut history = Vec::new();
            let ended = loop {
                match watch.next().await {
                    Some(Ok(WatchItem::Events { events, .. })) => {
                        let changes = events.iter().filter_map(change_of);
                        let ours = changes.filter(|change| change.key.starts_with(&prefix));
                        history.extend(ours);
                        if let Some(end) = history.iter().position(|change| change.key == marker) {
                            history.truncate(end);
                            break Ok(history);
                        }
                    }
                    Some(Ok(WatchItem::Synced { .. })) => {}
                    Some(Ok(item)) => break Err(format!("{item:?} came after {} changes", history.len())),
                    Some(Err(error)) => break Err(error.to_string()),
                    None => break Err("it ended".to_owned()),
                }
            };
            // Nobody listens when the test was given up.
            let _ = done.send(ended);
        });
        Self { task, collected }
    }

    pub(super) async fn finish(&mut self, patience: Duration) -> Result<Vec<Change>, KitError> {
        match timeout(patience, &mut self.collected).await {
            Ok(Ok(Ok(history))) => Ok(history),
            Ok(Ok(Err(why))) => Err(KitError::Watch(why)),
            Ok(Err(_)) => Err(KitError::Watch("its task failed".to_owned())),
            Err(_) => Err(KitError::Watch(format!(
                "the change of the marker was not delivered within {patience:?}"
            ))),
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an event says about a register or about a new collection.
fn change_of(event: &v1::Event) -> Option<Change> {
    use v1::resource::Kind;
    let kind = |resource: &Option<v1::Resource>| resource.as_ref().and_then(|resource| resource.kind.clone());
    let revision = event.revision;
    match (kind(&event.before), kind(&event.after)?) {
        (before, Kind::Database(after)) => {
            let value = after.properties.get(PROPERTY)?.clone();
            let old = match before {
                Some(Kind::Database(before)) => before.properties.get(PROPERTY).cloned(),
                _ => None,
            };
            (old.as_ref() != Some(&value)).then_some(Change {
                revision,
                key: after.name,
                value,
            })
        }
        (None, Kind::Collection(after)) => Some(Change {
            revision,
            key: after.name.clone(),
            value: after.name,
        }),
        _ => None,
    }
}
