//! One replica inside each process of a program that runs on several hosts: your coordinator, with Quorate in it.
//!
//! Start it three times, with the number of the process:
//!
//! ```sh
//! for n in 0 1 2; do cargo run -p quorate --example one_per_process -- $n & done
//! ```
//!
//! Each process prints who leads; the leader prints a heartbeat of its own. Ctrl-C stops a process in order: leadership is
//! handed over first. Kill one with -9 and the others take over within milliseconds.

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use quorate::{Coordinator, Listed, MemberName};
use tokio::time::sleep;

fn listed() -> Result<Vec<Listed>, Box<dyn Error>> {
    let entry = |number: u16| {
        let address = |port: u16| format!("127.0.0.1:{}", 25_000 + 10 * number + port);
        Ok(Listed {
            name: MemberName::new(format!("process-{number}"))?,
            client_address: address(0),
            peer_address: address(1),
            liveness_address: address(2),
        })
    };
    (0..3).map(entry).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let number: usize = std::env::args().nth(1).ok_or("give the number of the process: 0, 1 or 2")?.parse()?;
    let listed = listed()?;
    let name = listed.get(number).ok_or("the number is 0, 1 or 2")?.name.clone();
    let coordinator = Coordinator::builder()
        .name(name.as_str())
        .replicas(listed)
        .data_dir(std::env::temp_dir().join("quorate-one-per-process").join(name.as_str()))
        .bind("127.0.0.1")
        .start()
        .await?;
    println!("{name}: waiting for the group");

    let mut leadership = coordinator.leadership();
    let tell = async {
        while let Some(now) = leadership.next().await {
            match now.leader {
                Some(leader) => println!("{name}: node {} leads in term {}", leader.node, now.term),
                None => println!("{name}: nobody leads"),
            }
        }
    };
    let lead = coordinator.while_leader(|guard| {
        let name = name.clone();
        async move {
            while guard.is_valid() {
                println!("{name}: doing the leader's work, fencing number {}", guard.term());
                sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let fault = tokio::select! {
        fault = coordinator.fault() => Some(fault),
        () = tell => None,
        () = lead => None,
        _ = tokio::signal::ctrl_c() => None,
    };
    coordinator.shutdown().await;
    match fault {
        // The process should end, so that the others know at once.
        Some(fault) => Err(quorate::chain(&*fault).into()),
        None => Ok(()),
    }
}
