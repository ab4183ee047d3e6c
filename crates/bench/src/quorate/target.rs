//! The writes of a round.
//!
//! Every second write creates a partition, the others allocate an id; both take one id of the cluster's counter (see
//! [`crate::judge`]). Partitions of a collection are limited, and so is the sum over all collections, so a round has a
//! few collections of its own, which are dropped after the check; when they are full, the round goes on with ids alone.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate_client::{Writes, v1};
use quorate_types::limits::PARTITIONS_PER_COLLECTION_MAX;

use crate::judge::{Acked, Evidence};
use crate::pace::Target;
use crate::record::Records;

/// The database of the bench's own collections.
pub(super) const DATABASE: &str = "bench";
/// Collections of one round.
const COLLECTIONS: u64 = 2;
/// Partitions that a round creates in one collection: some below the limit, which counts the default one.
const PARTITIONS: u64 = PARTITIONS_PER_COLLECTION_MAX as u64 - 96;
/// What a round takes of the catalog's capacity at most (shards times partitions).
pub(crate) const ROUND_CAPACITY: u64 = COLLECTIONS * PARTITIONS_PER_COLLECTION_MAX as u64;

/// The collections of a round.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    round: u64,
}

/// What a write is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    AllocateId,
    CreatePartition { collection: String, partition: String },
}

impl Ground {
    pub(super) fn new(round: u64) -> Self {
        Self { round }
    }

    pub(super) fn collections(&self) -> impl Iterator<Item = String> {
        (0..COLLECTIONS).map(|number| self.collection(number))
    }

    fn collection(&self, number: u64) -> String {
        format!("round_{}_{number}", self.round)
    }

    fn kind(&self, sequence: u64) -> Kind {
        let (place, number) = (sequence / 2, sequence / 2 / PARTITIONS);
        if sequence.is_multiple_of(2) || number >= COLLECTIONS {
            return Kind::AllocateId;
        }
        Kind::CreatePartition {
            collection: self.collection(number),
            partition: format!("w{place}"),
        }
    }

    /// The row that a write creates, by a name that is unique in the round.
    fn row(&self, sequence: u64) -> Option<String> {
        match self.kind(sequence) {
            Kind::AllocateId => None,
            Kind::CreatePartition {
                collection,
                partition,
            } => Some(row_name(&collection, &partition)),
        }
    }

    /// The round's writes with what the cluster said: ids taken before and after them, and the rows that it lists.
    pub(super) fn evidence(
        &self,
        records: &Records,
        ids: (u64, u64),
        listed: Vec<(String, u64)>,
    ) -> Evidence {
        let acked = records.acked().map(|(sequence, id)| Acked {
            id,
            row: self.row(sequence),
        });
        Evidence {
            acked: acked.collect(),
            failed: records.failed().map(|(sequence, _)| self.row(sequence)).collect(),
            id_before: ids.0,
            id_after: ids.1,
            listed,
        }
    }
}

/// A partition's name among all of the round.
pub(super) fn row_name(collection: &str, partition: &str) -> String {
    format!("{collection}/{partition}")
}

/// Sends the writes of a round on one write stream.
pub(super) struct Stream {
    pub(super) ground: Ground,
    pub(super) writes: Writes,
}

impl Target for Stream {
    fn write(&self, sequence: u64) -> BoxFuture<'static, Result<u64, String>> {
        let (kind, writes) = (self.ground.kind(sequence), self.writes.clone());
        async move {
            match kind {
                Kind::AllocateId => {
                    let request = v1::AllocateIdsRequest {
                        request: None,
                        count: 1,
                    };
                    Ok(writes.send(request).await?.await?.first)
                }
                Kind::CreatePartition {
                    collection,
                    partition,
                } => {
                    let request = v1::CreatePartitionRequest {
                        request: None,
                        database: DATABASE.to_owned(),
                        collection,
                        name: partition,
                    };
                    Ok(writes.send(request).await?.await?.partition_id)
                }
            }
        }
        .map(|answer: Result<u64, quorate_client::Error>| answer.map_err(|error| error.to_string()))
        .boxed()
    }
}

impl Stream {
    pub(super) fn target(ground: Ground, writes: Writes) -> Arc<dyn Target> {
        Arc::new(Self { ground, writes })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn kinds() {
        let ground = Ground::new(7);
        let partition = |collection: &str, partition: &str| Kind::CreatePartition {
            collection: collection.to_owned(),
            partition: partition.to_owned(),
        };
        let cases = [
            (0, Kind::AllocateId),
            (1, partition("round_7_0", "w0")),
            (2, Kind::AllocateId),
            (3, partition("round_7_0", "w1")),
            (7_999, partition("round_7_0", "w3999")),
            (8_000, Kind::AllocateId),
            (8_001, partition("round_7_1", "w4000")),
            (15_999, partition("round_7_1", "w7999")),
            (16_001, Kind::AllocateId),
        ];
        for (sequence, want) in cases {
            assert_eq!(ground.kind(sequence), want, "{sequence}");
        }
    }

    #[test]
    fn no_collection_gets_more_partitions_than_it_may_have() {
        let ground = Ground::new(0);
        let mut partitions: BTreeMap<String, usize> = BTreeMap::new();
        for sequence in 0..100_000 {
            if let Kind::CreatePartition { collection, .. } = ground.kind(sequence) {
                *partitions.entry(collection).or_default() += 1;
            }
        }
        assert!(
            partitions
                .values()
                .all(|partitions| *partitions < PARTITIONS_PER_COLLECTION_MAX)
        );
        assert!(
            partitions
                .keys()
                .eq(ground.collections().collect::<Vec<_>>().iter())
        );
    }
}
