//! The keys that all load goes to.
//!
//! Promises: as many for both systems, each written before the first stretch; every client walks through them in an order of its
//! own, the same in each run.

use bytes::Bytes;
use quorate_api::etcdserverpb::PutRequest;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_bench::BenchError;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// How many there are.
const KEYS: usize = 10_000;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 256;
/// From one key to a client's next. It has no factor in common with their number, so each is visited.
const STRIDE: usize = 7_919;

/// The key that client number `client` uses in its call number `turn`.
pub(super) fn key(client: usize, turn: usize) -> Bytes {
    let place = client
        .wrapping_mul(KEYS / 64 + 1)
        .wrapping_add(turn.wrapping_mul(STRIDE))
        % KEYS;
    Bytes::from(format!("bench/key/{place:08}"))
}

/// A value of the right size.
pub(super) fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_BYTES])
}

/// Writes all of them.
pub(super) async fn fill(channels: &[Channel]) -> Result<(), BenchError> {
    let (mut tasks, writers) = (JoinSet::new(), channels.len());
    for (number, channel) in channels.iter().enumerate() {
        let mut client = KvClient::new(channel.clone());
        tasks.spawn(async move {
            for turn in (number..KEYS).step_by(writers) {
                let request = PutRequest {
                    key: key(0, turn),
                    value: value(),
                    ..Default::default()
                };
                client.put(request).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        let filled = joined.map_err(|error| BenchError::Broken(error.to_string()))?;
        filled.map_err(|status| BenchError::Etcd(format!("write the keys: {}", status.message())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_client_visits_every_key() {
        for client in [0, 1, 999] {
            let visited: BTreeSet<Bytes> = (0..KEYS).map(|turn| key(client, turn)).collect();
            assert_eq!(visited.len(), KEYS, "{client}");
        }
        assert_ne!(key(0, 0), key(1, 0));
        assert_eq!(value().len(), VALUE_BYTES);
    }
}
