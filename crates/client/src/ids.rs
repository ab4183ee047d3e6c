//! Ids that the cluster never gives twice.

use std::ops::Range;

use quorate_api::v1;

use crate::client::Client;
use crate::error::Error;

/// The `Ids` service.
#[derive(Debug, Clone)]
pub struct Ids {
    client: Client,
}

impl Ids {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Allocates `count` (1 to 1,000,000) consecutive ids.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `count` is out of range; [`Error::Unavailable`] at the deadline: ids of an unknown
    /// outcome are lost, never given to others.
    pub async fn allocate(&self, count: u64) -> Result<Range<u64>, Error> {
        let request = v1::AllocateIdsRequest { request: None, count };
        let answer = self.client.write(request).await?;
        match answer.first.checked_add(answer.count) {
            Some(end) if answer.count == count => Ok(answer.first..end),
            _ => Err(Error::protocol(format!(
                "asked for {count} ids, the cluster gave {} from {} on",
                answer.count, answer.first
            ))),
        }
    }
}
