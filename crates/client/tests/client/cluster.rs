//! A group of scripted replicas on a network inside the test.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_client::{Client, v1};

use crate::network::Memory;
use crate::replica::{Model, Replica, address};

pub(crate) struct Cluster {
    pub(crate) network: Memory,
    model: Arc<Mutex<Model>>,
    replicas: Vec<Replica>,
}

impl Cluster {
    /// Replicas 1 to `nodes`, none of which leads.
    pub(crate) async fn leaderless(nodes: u64) -> Self {
        let model = Arc::new(Mutex::new(Model::default()));
        model.lock().unwrap().answers_max = 1024;
        let network = Memory::default();
        let replicas: Vec<Replica> = (1..=nodes)
            .map(|node| Replica::new(node, nodes, Arc::clone(&model)))
            .collect();
        for (node, replica) in (1..).zip(&replicas) {
            replica.serve(&network, &address(node)).await;
        }
        Self {
            network,
            model,
            replicas,
        }
    }

    /// Three replicas; the first leads in term 1.
    pub(crate) async fn three() -> Self {
        let cluster = Self::leaderless(3).await;
        cluster.elect(1, 1);
        cluster
    }

    /// All replicas agree that `leader` leads in `term`.
    pub(crate) fn elect(&self, leader: u64, term: u64) {
        // The leader knows first, as in Raft.
        self[leader].think(term, Some(leader));
        for replica in &self.replicas {
            replica.think(term, Some(leader));
        }
    }

    /// The replica's process dies: its connections break, its address refuses, the others see no leader.
    pub(crate) fn kill(&self, node: u64) {
        self.network.kill(&address(node));
    }

    pub(crate) async fn restart(&self, node: u64) {
        self[node].serve(&self.network, &address(node)).await;
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_of(&[1, 2, 3])
    }

    pub(crate) fn client_of(&self, seeds: &[u64]) -> Client {
        let seeds = seeds.iter().map(|node| address(*node));
        Client::builder(seeds)
            .network(Arc::new(self.network.clone()))
            .connect()
            .expect("good seeds")
    }
}

impl std::ops::Index<u64> for Cluster {
    type Output = Replica;

    fn index(&self, node: u64) -> &Replica {
        self.replicas
            .get(usize::try_from(node - 1).expect("a small id"))
            .expect("a replica")
    }
}

/// Waits until the client has noticed that its leader is gone.
pub(crate) async fn leader_lost(client: &Client) {
    client
        .leader()
        .wait_for(Option::is_none)
        .await
        .expect("the client lives");
}

/// A write that the model knows.
pub(crate) fn database(name: &str) -> v1::CreateDatabaseRequest {
    v1::CreateDatabaseRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

/// Sequences of the executed writes, in order.
pub(crate) fn sequences(model: impl Deref<Target = Model>) -> Vec<u64> {
    model.executed.iter().map(|(_, sequence)| *sequence).collect()
}
