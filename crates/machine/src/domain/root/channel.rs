//! Channels: the streams that carry a collection's writes.
//!
//! Physical channels are few and shared by all collections; each shard of a collection has a virtual channel on one of
//! them. A new collection takes the least used ones, ties by number, so that the load spreads and every replica picks the
//! same. A collection has at most as many shards as there are physical channels, and takes each at most once.

use quorate_types::limits::PHYSICAL_CHANNELS;

use crate::object_id::CollectionId;
use crate::table::{Rows, Table, TableTag};
use crate::txn::Txn;

const USE: Table<(), ChannelUse> = Table::new(TableTag::ChannelUse);

/// Physical channels are called this and their number.
const PREFIX: &str = "q-dml_";

/// A shard of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// For example `q-dml_3_446v0`: the physical channel, the collection's id, the shard's number.
    pub virtual_channel: String,
    /// For example `q-dml_3`.
    pub physical_channel: String,
}

/// How many shards use each physical channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChannelUse(pub(crate) [u32; PHYSICAL_CHANNELS as usize]);

impl ChannelUse {
    /// The `shards` least used channels, in the order in which a collection's shards take them.
    fn least_used(&self, shards: usize) -> Vec<usize> {
        let mut channels: Vec<usize> = (0..self.0.len()).collect();
        channels.sort_by_key(|&channel| self.0[channel]);
        channels.truncate(shards);
        channels
    }

    /// Counts the shards that a collection has.
    pub(crate) fn add(&mut self, shards: &[Shard]) {
        for count in self.counts_of(shards) {
            self.0[count] += 1;
        }
    }

    fn remove(&mut self, shards: &[Shard]) {
        for count in self.counts_of(shards) {
            self.0[count] -= 1;
        }
    }

    fn counts_of(&self, shards: &[Shard]) -> Vec<usize> {
        let channels = self.0.len();
        let numbers = shards.iter().filter_map(|shard| number(&shard.physical_channel));
        numbers.filter(|&number| number < channels).collect()
    }
}

fn number(physical_channel: &str) -> Option<usize> {
    physical_channel.strip_prefix(PREFIX)?.parse().ok()
}

/// Takes channels for a new collection.
pub(super) fn take(txn: &mut Txn<'_>, collection: CollectionId, shards: u32) -> Vec<Shard> {
    let mut used = USE.get(txn, ()).unwrap_or_default();
    let chosen = used.least_used(shards as usize);
    let shards: Vec<Shard> = (0..)
        .zip(chosen)
        .map(|(shard, channel): (u32, _)| Shard {
            virtual_channel: format!("{PREFIX}{channel}_{collection}v{shard}"),
            physical_channel: format!("{PREFIX}{channel}"),
        })
        .collect();
    used.add(&shards);
    USE.put(txn, (), &used);
    shards
}

/// Gives back the channels of a collection.
pub(super) fn give_back(txn: &mut Txn<'_>, shards: &[Shard]) {
    let mut used = USE.get(txn, ()).unwrap_or_default();
    used.remove(shards);
    USE.put(txn, (), &used);
}

/// How many shards use each physical channel.
pub(crate) fn in_use(rows: &impl Rows) -> ChannelUse {
    USE.get(rows, ()).unwrap_or_default()
}

/// Whether bytes are the row.
pub(crate) fn check(key: &[u8], value: &[u8]) -> bool {
    USE.decode(key, value).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn the_least_used_channels_are_taken_ties_by_number() {
        let mut state = State::empty();
        let mut txn = Txn::begin(&mut state);
        let mut names = |id: u64, shards| -> Vec<String> {
            let shards = take(&mut txn, CollectionId(id), shards);
            shards.into_iter().map(|shard| shard.virtual_channel).collect()
        };
        assert_eq!(names(7, 3), ["q-dml_0_7v0", "q-dml_1_7v1", "q-dml_2_7v2"]);
        assert_eq!(names(8, 1), ["q-dml_3_8v0"]);
        let all = names(9, 16);
        assert_eq!(
            (all[0].as_str(), all[12].as_str()),
            ("q-dml_4_9v0", "q-dml_0_9v12")
        );
        assert_eq!(names(10, 1), ["q-dml_4_10v0"]);
    }

    #[test]
    fn channels_that_are_given_back_are_taken_again() {
        let mut state = State::empty();
        let mut txn = Txn::begin(&mut state);
        let first = take(&mut txn, CollectionId(1), 2);
        take(&mut txn, CollectionId(2), 14);
        give_back(&mut txn, &first);
        assert_eq!(take(&mut txn, CollectionId(3), 1)[0].physical_channel, "q-dml_0");
        assert_eq!(in_use(&txn).0[..3], [1, 0, 1]);
    }
}
