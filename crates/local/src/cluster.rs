//! The replicas together.

use std::path::Path;
use std::time::Duration;

use quorate_client::{Client, Leader};
use quorate_types::NodeId;
use tokio::time::{Instant, sleep, timeout};

use crate::error::LocalError;
use crate::plan::Plan;
use crate::ports;
use crate::process::{Ports, Process, State};

/// Names in the order of node ids, which is the order of names.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Between two looks at replicas that are not ready yet.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A status that takes longer is asked for again.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// A running cluster. Dropping it kills what still runs; the directory stays.
#[derive(Debug)]
pub struct Cluster {
    processes: Vec<Process>,
    plan: Plan,
}

impl Cluster {
    /// Starts the replicas; see [`Self::ready`] for when they serve.
    ///
    /// A replica that is started again, in the directory of an earlier cluster, has other ports then and would not be let
    /// into its old group; so the ports are kept in a file there and taken again.
    ///
    /// # Errors
    /// [`LocalError`]; what had been started is killed.
    ///
    /// # Panics
    /// When the plan has more than five replicas, or outside a tokio runtime.
    #[allow(
        clippy::unused_async,
        reason = "starting needs the runtime, and a caller should see that"
    )]
    pub async fn start(plan: Plan) -> Result<Self, LocalError> {
        assert!(
            plan.replicas <= NAMES.len(),
            "a local cluster has at most {} replicas",
            NAMES.len()
        );
        let ports = cluster_ports(&plan.directory, plan.replicas)?;
        let list: Vec<String> = NAMES
            .iter()
            .zip(&ports)
            .map(|(name, ports)| entry(name, ports))
            .collect();
        let list = list.join(",");
        let numbered = (1..).zip(NAMES.iter().zip(ports));
        let processes = numbered
            .map(|(number, (name, ports))| replica(&plan, name, NodeId(number), ports, &list))
            .collect();
        let cluster = Self { processes, plan };
        for process in &cluster.processes {
            process.start()?;
        }
        Ok(cluster)
    }

    /// Starts one more replica, which joins those that are there. Its [`Process::node`] is 0, because the cluster gives it
    /// its id.
    ///
    /// # Errors
    /// [`LocalError`].
    ///
    /// # Panics
    /// When there are five already, or outside a tokio runtime.
    pub fn add(&mut self) -> Result<&Process, LocalError> {
        let name = NAMES
            .get(self.processes.len())
            .expect("a local cluster has at most five replicas");
        let directory = self.plan.directory.join(name);
        let ports = cluster_ports(&directory, 1)?[0];
        let others = self
            .processes
            .iter()
            .map(|process| (process.name(), &process.ports));
        let list: Vec<String> = others
            .chain([(*name, &ports)])
            .map(|(name, ports)| entry(name, ports))
            .collect();
        let plan = self.plan.clone().argument("--join");
        let process = replica(&plan, name, NodeId(0), ports, &list.join(","));
        process.start()?;
        self.processes.push(process);
        Ok(&self.processes[self.processes.len() - 1])
    }

    /// All replicas, in the order of their names.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The replica with this node id.
    #[must_use]
    pub fn process_of(&self, node: NodeId) -> Option<&Process> {
        self.processes.iter().find(|process| process.node == node)
    }

    /// The replica that clients reach at this address, whatever its node id.
    #[must_use]
    pub fn process_at(&self, client_address: &str) -> Option<&Process> {
        let mut processes = self.processes.iter();
        processes.find(|process| process.client_address() == client_address)
    }

    /// The addresses of all replicas for clients.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        self.processes.iter().map(Process::client_address).collect()
    }

    /// A client of the cluster with default settings.
    ///
    /// # Errors
    /// None in practice: the seeds are good.
    pub fn client(&self) -> Result<Client, LocalError> {
        Ok(Client::connect(self.seeds())?)
    }

    /// Waits until a leader answers and every running replica knows of it.
    ///
    /// # Errors
    /// [`LocalError::Ended`] at once when a replica ends meanwhile, [`LocalError::NotReady`] after `patience`.
    pub async fn ready(&self, patience: Duration) -> Result<Leader, LocalError> {
        let client = Client::builder(self.seeds()).deadline(patience).connect()?;
        let ready = self.wait_ready(&client, patience).await;
        client.close().await;
        ready
    }

    async fn wait_ready(&self, client: &Client, patience: Duration) -> Result<Leader, LocalError> {
        let began = Instant::now();
        let were_running: Vec<&Process> = self
            .processes
            .iter()
            .filter(|process| is_running(process))
            .collect();
        let asking = client.with_deadline(STATUS_PATIENCE);
        loop {
            let leader = client.leader().borrow().clone();
            let why = match leader {
                None => "no leader answers".to_owned(),
                Some(leader) => match unaware(&asking, &were_running, &leader).await {
                    None => return Ok(leader),
                    Some(why) => why,
                },
            };
            for process in &were_running {
                if let State::Exited(how) = process.state() {
                    let (name, log, tail) = (process.name.clone(), process.log_path(), process.log_tail());
                    return Err(LocalError::Ended { name, how, log, tail });
                }
            }
            if began.elapsed() >= patience {
                return Err(LocalError::NotReady {
                    after_ms: patience.as_millis(),
                    why,
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends all replicas in order, and after `patience` those that are left at once.
    pub async fn stop(self, patience: Duration) {
        for process in &self.processes {
            // A paused process would not hear of it. One that ended meanwhile needs nothing.
            let _ = process.terminate();
            if process.state() == State::Paused {
                let _ = process.resume();
            }
        }
        let all = async {
            for process in &self.processes {
                process.exited().await;
            }
        };
        if timeout(patience, all).await.is_err() {
            for process in &self.processes {
                let _ = process.kill();
                process.exited().await;
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = process.kill();
        }
    }
}

fn is_running(process: &Process) -> bool {
    process.state() == State::Running
}

/// Why not every one of `processes` knows that `leader` leads; none when all do.
async fn unaware(client: &Client, processes: &[&Process], leader: &Leader) -> Option<String> {
    for process in processes.iter().filter(|process| is_running(process)) {
        // A replica that joined has an id that only the cluster knows.
        let address = process.client_address();
        let members = client.members();
        let mut here = members.iter().filter(|member| member.client_address == address);
        let Some(node) = here.next_back().map(|member| NodeId(member.node_id)) else {
            return Some(format!("replica {} is no member yet", process.name));
        };
        let status = match client.cluster().status(node).await {
            Ok(status) => status,
            Err(error) => return Some(format!("replica {} gives no status: {error}", process.name)),
        };
        let known = status.topology.and_then(|topology| topology.leader);
        if known.is_none_or(|known| known.node_id != leader.node.0) {
            return Some(format!("replica {} does not know the leader yet", process.name));
        }
    }
    None
}

/// A replica that is not started yet.
fn replica(plan: &Plan, name: &str, node: NodeId, ports: Ports, list: &str) -> Process {
    let directory = plan.directory.join(name);
    let mut arguments: Vec<String> = [
        "serve",
        "--name",
        name,
        "--replicas",
        list,
        "--data-dir",
        &directory.join("data").display().to_string(),
        "--bind",
        "127.0.0.1",
        "--http",
        &format!("127.0.0.1:{}", ports.http),
        "--stop-with-parent",
        &std::process::id().to_string(),
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(plan.arguments.iter().cloned());
    Process::new(
        name.to_owned(),
        node,
        ports,
        plan.program.clone(),
        arguments,
        directory,
    )
}

fn entry(name: &str, ports: &Ports) -> String {
    format!(
        "{name}=127.0.0.1:{}/{}/{}",
        ports.client, ports.peer, ports.liveness
    )
}

/// The ports of the cluster in this directory: those of its earlier life, or free ones, written down for the next.
fn cluster_ports(directory: &Path, replicas: usize) -> Result<Vec<Ports>, LocalError> {
    let path = directory.join("ports");
    let numbers = match std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| read_ports(&text, replicas))
    {
        Some(numbers) => numbers,
        None => {
            let numbers = ports::free(replicas * 4)?;
            let text: Vec<String> = numbers.iter().map(u16::to_string).collect();
            let written = std::fs::create_dir_all(directory)
                .and_then(|()| std::fs::write(&path, text.join(" ") + "\n"));
            written.map_err(|cause| LocalError::File { path, cause })?;
            numbers
        }
    };
    let four = |four: &[u16]| Ports {
        client: four[0],
        peer: four[1],
        liveness: four[2],
        http: four[3],
    };
    Ok(numbers.chunks_exact(4).map(four).collect())
}

fn read_ports(text: &str, replicas: usize) -> Option<Vec<u16>> {
    let numbers: Option<Vec<u16>> = text
        .split_whitespace()
        .map(|number| number.parse().ok())
        .collect();
    numbers.filter(|numbers| numbers.len() == replicas * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_ports() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = cluster_ports(directory.path(), 3).expect("ports");
        let again = cluster_ports(directory.path(), 3).expect("ports");
        let clients = |ports: &[Ports]| ports.iter().map(|ports| ports.client).collect::<Vec<_>>();
        assert_eq!(clients(&first), clients(&again));
        let cases = [
            ("whole", "1 2 3 4", 1, true),
            ("of another size", "1 2 3 4", 3, false),
            ("cut", "1 2 3", 1, false),
            ("not numbers", "1 2 3 x", 1, false),
            ("too large", "1 2 3 70000", 1, false),
            ("empty", "", 1, false),
        ];
        for (name, text, replicas, want) in cases {
            assert_eq!(read_ports(text, replicas).is_some(), want, "{name}");
        }
    }

    #[tokio::test]
    async fn a_replica_that_ends_is_told_with_the_end_of_its_log() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("program");
        std::fs::write(
            &program,
            "#!/bin/sh\nread line < \"$0.go\"\necho it is broken >&2\nexit 3\n",
        )
        .expect("a script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("can be run");
        let go = directory.path().join("program.go");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&go)
                .status()
                .expect("mkfifo runs")
                .success()
        );
        let cluster = Cluster::start(Plan::new(&program, directory.path()).replicas(1))
            .await
            .expect("starts");
        let ready = cluster.ready(Duration::from_secs(60));
        // The script waits for this line, so it runs when `ready` looks first.
        let release = tokio::task::spawn_blocking(move || std::fs::write(go, "go\n"));
        let error = ready.await.expect_err("no replica");
        assert!(
            matches!(&error, LocalError::Ended { name, tail, .. } if name == "a" && tail == "it is broken"),
            "{error}"
        );
        release.await.expect("joins").expect("is read");
    }
}
