//! A whole group of three replicas inside one program, and work that only its leader does.
//!
//! `cargo run -p quorate --example three_in_one` forms the group in a temporary directory, lets the leader count for a moment,
//! stops the leader, shows that another goes on with a higher fencing number, and ends.

use std::error::Error;
use std::time::Duration;

use quorate::{Coordinator, LeaderGuard, Listed, MemberName};
use tokio::sync::mpsc;
use tokio::time::sleep;

fn replica(number: u16) -> Result<Listed, Box<dyn Error>> {
    let address = |port: u16| format!("127.0.0.1:{}", 24_000 + 10 * number + port);
    Ok(Listed {
        name: MemberName::new(format!("r{number}"))?,
        client_address: address(0),
        peer_address: address(1),
        liveness_address: address(2),
    })
}

/// Reports three steps of the leader's work, each confirmed by a majority first.
async fn lead(guard: LeaderGuard, name: String, steps: mpsc::Sender<String>) {
    for step in 1.. {
        if let Err(why) = guard.confirm(Duration::from_secs(1)).await {
            println!("{name} stops its work: {why}");
            return;
        }
        if steps.send(format!("{name} leads with fencing number {}, step {step}", guard.term())).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("quorate-three-in-one-{}", std::process::id()));
    let listed = (0..3).map(replica).collect::<Result<Vec<_>, _>>()?;
    let (steps, mut seen) = mpsc::channel(16);

    let mut group = Vec::new();
    for entry in &listed {
        let name = entry.name.as_str();
        let coordinator = Coordinator::builder()
            .name(name)
            .replicas(listed.clone())
            .data_dir(directory.join(name))
            .bind("127.0.0.1")
            .start()
            .await?;
        group.push(coordinator);
    }
    for coordinator in &group {
        coordinator.ready().await?;
    }
    println!("the group is ready");

    // One task per replica; only the leader's does anything.
    let mut tasks = Vec::new();
    for coordinator in group {
        let steps = steps.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let name = coordinator.listed().name.to_string();
        let task = tokio::spawn(async move {
            let name = coordinator.listed().name.to_string();
            let work = coordinator.while_leader(|guard| lead(guard, name.clone(), steps.clone()));
            tokio::select! {
                () = work => {}
                _ = stopped => {}
            }
            coordinator.shutdown().await;
        });
        tasks.push((name, stop, task));
    }
    drop(steps);

    for _ in 0..3 {
        println!("{}", seen.recv().await.ok_or("nobody leads")?);
    }
    let line = seen.recv().await.ok_or("nobody leads")?;
    let leader = tasks.iter().position(|(name, ..)| line.starts_with(name.as_str())).ok_or("who is that?")?;
    let (name, stop, task) = tasks.swap_remove(leader);
    println!("stopping {name}");
    drop(stop);
    task.await?;
    while let Some(line) = seen.recv().await {
        if !line.starts_with(&name) {
            println!("{line}");
            break;
        }
    }
    drop(seen);
    for (_, stop, task) in tasks {
        drop(stop);
        task.await?;
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
