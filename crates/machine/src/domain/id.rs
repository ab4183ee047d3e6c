//! Ids for whoever asks: segments, tasks, whatever the caller counts.
//!
//! They come from the same counter as the ids of databases, collections, partitions and leases, so that no number is ever
//! given twice to anything. Allocating moves no revision and wakes no watcher: nothing that one could watch has changed.

use quorate_types::limits::IDS_PER_REQUEST_MAX;

use crate::command::AllocateIds;
use crate::refusal::{ParameterRule, Refusal};
use crate::reply::Reply;
use crate::txn::Txn;

/// Allocates consecutive ids.
pub(crate) fn allocate(txn: &mut Txn<'_>, command: &AllocateIds) -> Result<Reply, Refusal> {
    let count = command.count;
    if !(1..=IDS_PER_REQUEST_MAX).contains(&count) {
        let rule = ParameterRule::Range {
            min: 1,
            max: IDS_PER_REQUEST_MAX,
        };
        return Err(Refusal::parameter("count", rule));
    }
    let first = txn.next_id();
    txn.head.last_id = first
        .checked_add(count - 1)
        .expect("a 64-bit counter does not run out");
    Ok(Reply::IdsAllocated { first, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn ids_are_consecutive_and_never_given_twice() {
        let mut state = State::empty();
        state.head.last_id = 10;
        let mut txn = Txn::begin(&mut state);
        let mut allocate = |count| allocate(&mut txn, &AllocateIds { count });
        assert_eq!(allocate(3), Ok(Reply::IdsAllocated { first: 11, count: 3 }));
        assert_eq!(allocate(1), Ok(Reply::IdsAllocated { first: 14, count: 1 }));
        let all = IDS_PER_REQUEST_MAX;
        assert_eq!(
            allocate(all),
            Ok(Reply::IdsAllocated {
                first: 15,
                count: all
            })
        );
        for count in [0, all + 1, u64::MAX] {
            let refusal = allocate(count).expect_err("out of range");
            assert_eq!(
                refusal.to_string(),
                "the parameter count must be from 1 to 1000000"
            );
        }
        assert_eq!(
            allocate(1),
            Ok(Reply::IdsAllocated {
                first: 15 + all,
                count: 1
            })
        );
    }
}
