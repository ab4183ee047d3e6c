//! Changes of members at any replica, in whole groups: forwarded, of the leader itself, and without one.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Group, PATIENCE, soon};
use quorate_replica::machine::{AllocateIds, Command};
use quorate_replica::{MemberChange, MemberError};
use quorate_types::{Member, NodeId};
use tokio::time::{Instant, sleep, timeout};

fn change(promote: &[NodeId], remove: &[NodeId], force: bool) -> MemberChange {
    MemberChange {
        promote: promote.iter().copied().collect(),
        remove: remove.iter().copied().collect(),
        force,
    }
}

fn ids(members: &[(Member, bool)], voting: bool) -> BTreeSet<NodeId> {
    let chosen = members.iter().filter(|(_, votes)| *votes == voting);
    chosen.map(|(member, _)| member.node).collect()
}

fn node(group: &Group, index: usize) -> NodeId {
    group.replica(index).identity().expect("part of the group").1
}

/// Waits until everybody is connected with everybody: members are changed only while enough of them can be reached.
async fn linked(group: &Group) {
    let linked = async {
        for node in group.nodes.values() {
            while node.replica.status().peers.iter().any(|peer| !peer.linked) {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    timeout(PATIENCE, linked).await.expect("links come up");
}

/// Waits until replica `index` is a learner.
async fn joined(group: &Group, index: usize) -> NodeId {
    let joined = async {
        while group.replica(index).identity().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, joined).await.expect("it joins");
    node(group, index)
}

/// Asks replica `at` until the learner has caught up.
async fn promoted(group: &Group, at: usize, wish: &MemberChange) -> Vec<(Member, bool)> {
    let promoted = async {
        loop {
            match group.replica(at).change_members_anywhere(wish, soon()).await {
                Ok(members) => return members,
                Err(MemberError::Behind { .. }) => sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, promoted).await.expect("it catches up")
}

#[tokio::test]
async fn a_follower_has_members_changed_and_everybody_knows() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let index = group.join().await;
    let new = joined(&group, index).await;
    linked(&group).await;

    let refused = |wish: MemberChange| {
        let replica = group.replica(follower).clone();
        async move { replica.change_members_anywhere(&wish, soon()).await.unwrap_err() }
    };
    let nobody = NodeId(99);
    assert_eq!(
        refused(change(&[nobody], &[], true)).await,
        MemberError::NotMember(nobody)
    );
    assert_eq!(
        refused(change(&[new], &[], false)).await,
        MemberError::Even { voters: 4 }
    );

    let members = promoted(&group, follower, &change(&[new], &[], true)).await;
    assert_eq!(ids(&members, true).len(), 4);
    assert!(ids(&members, true).contains(&new) && ids(&members, false).is_empty());
    // Who wishes for what is so already is told that it is so.
    let again = promoted(&group, other, &change(&[new], &[], true)).await;
    assert_eq!(again, members);
    for index in 0..4 {
        group.replica(index).read_anywhere(soon()).await.unwrap();
        let known = group.replica(index).decided_members().await.unwrap();
        assert_eq!(known, members, "at {index}");
    }

    // The one that is asked may be the one that leaves.
    let leaves = node(&group, other);
    let members = group
        .replica(other)
        .change_members_anywhere(&change(&[], &[leaves], true), soon())
        .await
        .unwrap();
    assert_eq!(ids(&members, true).len(), 3);
    assert!(members.iter().all(|(member, _)| member.node != leaves));
}

#[tokio::test]
async fn a_leader_that_is_to_leave_hands_over_first_and_answers_all_the_same() {
    for at_the_leader in [true, false] {
        let group = Group::started(3).await;
        linked(&group).await;
        let leader = group.leader().await;
        let asked = if at_the_leader { leader } else { (leader + 1) % 3 };
        let leaves = node(&group, leader);
        let members = group
            .replica(asked)
            .change_members_anywhere(&change(&[], &[leaves], true), soon())
            .await
            .unwrap();
        assert_eq!(ids(&members, true).len(), 2);
        assert!(members.iter().all(|(member, _)| member.node != leaves));
        let rest = (leader + 1) % 3;
        let write = Command::AllocateIds(AllocateIds { count: 1 });
        let (outcome, _) = group.replica(rest).propose_anywhere(write, soon()).await.unwrap();
        assert!(outcome.is_ok(), "the others go on");
    }
}

#[tokio::test]
async fn without_a_majority_a_change_waits_and_then_says_why() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let left = (leader + 1) % 3;
    let leaves = node(&group, leader);
    group.crash(leader);
    group.crash((leader + 2) % 3);
    let deadline = Instant::now() + Duration::from_millis(300);
    let replica = group.replica(left);
    let error = replica
        .change_members_anywhere(&change(&[], &[leaves], true), deadline)
        .await
        .unwrap_err();
    assert!(
        matches!(error, MemberError::NotLeader | MemberError::OutcomeUnknown),
        "{error:?}"
    );
    assert!(Instant::now() >= deadline, "somebody might have led again");
    let known = replica.decided_members().await.unwrap();
    assert_eq!(known.len(), 3, "nothing was decided");
}
