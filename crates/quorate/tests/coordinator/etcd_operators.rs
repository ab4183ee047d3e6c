//! What etcd's operators ask, at every replica: members, figures, hashes, snapshots, changes of the leader.

use std::collections::BTreeSet;

use quorate::MemberName;
use quorate::backup::{inspect, restore};
use quorate_api::etcdserverpb::cluster_client::ClusterClient;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_api::etcdserverpb::{
    AlarmRequest, HashKvRequest, Member, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MoveLeaderRequest, PutRequest, SnapshotRequest, StatusRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cluster::{Cluster, soon, until};

struct Operators {
    members: Vec<ClusterClient<Channel>>,
    maintenance: Vec<MaintenanceClient<Channel>>,
}

impl Operators {
    fn of(cluster: &Cluster, size: usize) -> Self {
        let channels = || (0..size).map(|number| cluster.channel(number));
        Self {
            members: channels().map(ClusterClient::new).collect(),
            maintenance: channels().map(MaintenanceClient::new).collect(),
        }
    }

    async fn list(&mut self, at: usize) -> Vec<Member> {
        let request = MemberListRequest { linearizable: true };
        soon(self.members[at].member_list(request))
            .await
            .unwrap()
            .into_inner()
            .members
    }
}

async fn write(cluster: &Cluster, keys: usize) {
    let mut client = KvClient::new(cluster.channel(0));
    for number in 0..keys {
        let request = PutRequest {
            key: format!("k{number}").into(),
            value: vec![7; 20_000].into(),
            ..PutRequest::default()
        };
        soon(client.put(request)).await.unwrap();
    }
}

fn told(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_figures_are_the_same_at_every_replica() {
    let cluster = Cluster::start(3).await;
    cluster.settled().await;
    write(&cluster, 5).await;
    let leader = cluster.leader().await;
    let mut operators = Operators::of(&cluster, 3);
    let mut hashes = BTreeSet::new();
    for at in 0..3 {
        let mut members = operators.list(at).await;
        members.sort_by(|one, other| one.name.cmp(&other.name));
        for (number, member) in members.iter().enumerate() {
            let listed = &cluster.listed[number];
            let want = Member {
                id: cluster.node(number),
                name: listed.name.to_string(),
                peer_ur_ls: vec![format!("http://{}", listed.peer_address)],
                client_ur_ls: vec![format!("http://{}", listed.client_address)],
                is_learner: false,
            };
            assert_eq!(*member, want, "at {at}");
        }
        assert_eq!(members.len(), 3);

        let maintenance = &mut operators.maintenance[at];
        let alarms = soon(maintenance.alarm(AlarmRequest::default())).await.unwrap();
        let header = alarms.into_inner().header.unwrap();
        assert_eq!((header.revision, header.member_id), (6, cluster.node(at)));
        let status = soon(maintenance.status(StatusRequest {}))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(status.leader, cluster.node(leader));
        assert_eq!(status.header.unwrap().member_id, cluster.node(at));
        assert!(
            status.db_size > 100_000 && status.raft_applied_index > 0,
            "{status:?}"
        );
        let hash = soon(maintenance.hash_kv(HashKvRequest { revision: 5 })).await;
        let hash = hash.unwrap().into_inner();
        assert_eq!(hash.hash_revision, 5);
        hashes.insert(hash.hash);
    }
    assert_eq!(hashes.len(), 1, "the same keys, the same hash");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_follower_is_a_backup() {
    let cluster = Cluster::start(3).await;
    cluster.settled().await;
    write(&cluster, 40).await;
    let follower = cluster.follower().await;
    let mut operators = Operators::of(&cluster, 3);
    let stream = soon(operators.maintenance[follower].snapshot(SnapshotRequest {})).await;
    let mut stream = stream.unwrap().into_inner();
    let (mut bytes, mut left) = (Vec::new(), None);
    while let Some(piece) = soon(stream.message()).await.unwrap() {
        let size = piece.blob.len() as u64;
        assert!(left.is_none_or(|left| left == piece.remaining_bytes + size));
        left = Some(piece.remaining_bytes);
        bytes.extend(piece.blob);
    }
    assert_eq!((left, bytes.len() % 512), (Some(0), 32));
    assert!(bytes.len() > 800_000);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("from-etcdctl.db");
    std::fs::write(&path, &bytes).unwrap();
    let contents = inspect(&path).unwrap();
    let image = cluster.at(follower).replica().read_stale().unwrap().image;
    assert_eq!(contents.content_digest, image.content_digest());
    assert_eq!(contents.members.len(), 3);
    let name = MemberName::new("r0").unwrap();
    let data = directory.path().join("r0");
    let restored = restore(&path, &data, &name, &cluster.listed, "").await.unwrap();
    assert_eq!(restored.contents, contents);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_moves_on_the_leaders_word_alone() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut operators = Operators::of(&cluster, 3);
    let request = MoveLeaderRequest {
        target_id: cluster.node(follower),
    };
    let refused = soon(operators.maintenance[follower].move_leader(request)).await;
    let not_leader = (Code::FailedPrecondition, "etcdserver: not leader");
    assert_eq!(told(&refused.unwrap_err()), not_leader);
    let nobody = MoveLeaderRequest { target_id: 77 };
    let refused = soon(operators.maintenance[leader].move_leader(nobody)).await;
    let bad = (Code::FailedPrecondition, "etcdserver: bad leader transferee");
    assert_eq!(told(&refused.unwrap_err()), bad);
    soon(operators.maintenance[leader].move_leader(request))
        .await
        .unwrap();
    until("it leads", || async {
        (cluster.leader().await == follower).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_removed_on_a_followers_word() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled().await;
    until("everybody is connected", || async {
        let mut peers = cluster.running().flat_map(|one| one.replica().status().peers);
        peers.all(|peer| peer.linked).then_some(())
    })
    .await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut operators = Operators::of(&cluster, 3);
    let id = cluster.node(leader);
    let voter = soon(operators.members[follower].member_promote(MemberPromoteRequest { id })).await;
    let not_learner = (
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    );
    assert_eq!(told(&voter.unwrap_err()), not_learner);

    let removed = soon(operators.members[follower].member_remove(MemberRemoveRequest { id })).await;
    let left = removed.unwrap().into_inner().members;
    let ids: BTreeSet<u64> = left.iter().map(|member| member.id).collect();
    let others: BTreeSet<u64> = (0..3)
        .map(|number| cluster.node(number))
        .filter(|node| *node != id)
        .collect();
    assert_eq!(ids, others);
    let again = soon(operators.members[follower].member_remove(MemberRemoveRequest { id })).await;
    assert_eq!(
        told(&again.unwrap_err()),
        (Code::NotFound, "etcdserver: member not found")
    );
    soon(cluster.at(leader).fault()).await;
    cluster.stop_one(leader).await;
    assert_eq!(operators.list(follower).await.len(), 2);
    cluster.stop().await;
}
