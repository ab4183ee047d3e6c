//! Liveness links that lie, or fall silent, while the leader lives: nobody is deposed, and the cluster serves.

use std::time::Duration;

use quorate_client::v1;
use quorate_testkit::netns::Place::Host;
use quorate_testkit::netns::{LIVENESS_PORT, Ports, Rule};

use crate::Test;
use crate::calm::on_calm_group;
use crate::support::{LONG, Running, on_group, plan};

pub(crate) const TESTS: &[Test] = &[
    ("one_false_witness_deposes_nobody", one_false_witness),
    ("silent_liveness_links_depose_nobody", silent_links),
    (
        "a_firewall_that_refuses_the_leaders_liveness_port_deposes_nobody",
        refused_port,
    ),
    (
        "a_firewall_that_refuses_every_liveness_link_deposes_nobody",
        refused_links,
    ),
    (
        "a_dead_leader_is_witnessed_past_a_silent_link",
        dead_behind_a_silent_link,
    ),
];

/// Applies rules that break liveness links of the leader while it lives; nobody may be deposed.
///
/// `unlinked` are the followers (0 and 1) that the rules rob of their link to the leader.
fn living_leader(unlinked: &[usize], rules: impl Fn(usize, &[usize]) -> Vec<Rule> + Sync) {
    on_calm_group(async |group| {
        let leader = group.ready(&group.all()).await;
        let rest = group.others(&[leader]);
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        let reign = group.reign(leader).await;
        group.network().apply(&rules(leader, &rest)).unwrap();
        for follower in unlinked {
            has_lost_its_link(group, rest[*follower], leader).await;
        }
        load.progress(300, LONG).await.unwrap();
        // Nothing happens, so there is nothing to wait for but time: many election timeouts of this profile.
        tokio::time::sleep(Duration::from_secs(2)).await;
        load.progress(100, LONG).await.unwrap();
        for host in group.all() {
            assert_eq!(
                group.reign(host).await,
                reign,
                "nobody was deposed, as {host} sees it"
            );
        }
        group.network().heal().unwrap();
        for follower in &rest {
            has_its_link(group, *follower, leader).await;
        }
        group.verdict(load).await;
        for host in group.all() {
            assert_eq!(
                group.reign(host).await,
                reign,
                "nor afterwards, as {host} sees it"
            );
        }
    });
}

fn is_linked(status: &v1::StatusResponse, node: u64) -> bool {
    status
        .peers
        .iter()
        .any(|peer| peer.node_id == node && peer.linked)
}

async fn has_lost_its_link(group: &Running, host: usize, to: usize) {
    let node = group.node(to).0;
    group
        .until(host, "a link is lost", |status| !is_linked(status, node))
        .await;
}

async fn has_its_link(group: &Running, host: usize, to: usize) {
    let node = group.node(to).0;
    group
        .until(host, "a link is up", |status| is_linked(status, node))
        .await;
}

/// Breaks the link from `one` to `other`, and refuses new ones.
fn refuse(one: usize, other: usize) -> Rule {
    Rule::refuse(Host(one), Host(other), Ports::To(LIVENESS_PORT))
}

fn one_false_witness() {
    // In both directions, so that no liveness link proves the leader's life to this follower.
    living_leader(&[0], |leader, rest| {
        vec![refuse(rest[0], leader), refuse(leader, rest[0])]
    });
}

fn silent_links() {
    living_leader(&[0, 1], |leader, rest| {
        let hosts = [leader, rest[0], rest[1]];
        let pairs = hosts
            .iter()
            .flat_map(|one| hosts.iter().map(move |other| (*one, *other)));
        let lose = |(one, other): (usize, usize)| {
            [Ports::To(LIVENESS_PORT), Ports::From(LIVENESS_PORT)]
                .map(|ports| Rule::lose(Host(one), Host(other), ports))
        };
        pairs.filter(|(one, other)| one != other).flat_map(lose).collect()
    });
}

fn refused_port() {
    living_leader(&[0, 1], |leader, rest| {
        rest.iter().map(|follower| refuse(*follower, leader)).collect()
    });
}

fn refused_links() {
    living_leader(&[0, 1], |leader, rest| {
        rest.iter()
            .flat_map(|follower| [refuse(*follower, leader), refuse(leader, *follower)])
            .collect()
    });
}

/// The control: evidence that is missing at one follower does not keep the group from replacing a dead leader, by its
/// timeouts at the latest.
fn dead_behind_a_silent_link() {
    on_group(plan(), async |group| {
        let leader = group.ready(&group.all()).await;
        let rest = group.others(&[leader]);
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        let (from, to) = (Ports::From(LIVENESS_PORT), Ports::To(LIVENESS_PORT));
        let (lost, kept) = (Host(rest[0]), Host(leader));
        let rules = [
            (lost, kept, to),
            (kept, lost, from),
            (kept, lost, to),
            (lost, kept, from),
        ];
        let rules = rules.map(|(one, other, ports)| Rule::lose(one, other, ports));
        group.network().apply(&rules).unwrap();
        has_lost_its_link(group, rest[0], leader).await;
        group.processes()[leader].kill().unwrap();
        group.replaced(leader, &rest).await;
        load.progress(200, LONG).await.unwrap();
        group.network().heal().unwrap();
        group.processes()[leader].start().unwrap();
        group.ready(&group.all()).await;
        group.verdict(load).await;
    });
}
