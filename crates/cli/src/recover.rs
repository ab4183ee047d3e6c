//! `quorate recover`: the last resort, with its consequences told before anything is done.
//!
//! Promises: nothing is changed without --yes or a typed yes; what is told is what was found, and what cannot be known is
//! called so. Left out on purpose: how; the library does it.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use quorate::recovery::{RecoverError, Recovered, Recovery};
use quorate::{Listed, MemberName};
use serde::Serialize;

use crate::exit::{Failure, chain};
use crate::output::text::plain;
use crate::output::{Format, Output, note};
use crate::serve;

const AFTER_HELP: &str = "\
When a majority of the replicas is lost for good, no election can succeed any more. This makes the directory of one that
survived into a new cluster of one member, with everything that its log holds. Stop the replica first. If several
survived, run `quorate recover` without --yes on each: take the one whose log ends at the highest term, and among those
at the highest index. The old members can never take part in the new cluster: wipe their directories.

Example:
  quorate recover --force-new-cluster --data-dir /var/lib/quorate --name b --yes
  quorate serve --data-dir /var/lib/quorate --name b --replicas b=10.0.0.2";

/// See the module.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Says that the old cluster is given up
    #[arg(long, required = true)]
    force_new_cluster: bool,
    /// The data directory of the replica that survived
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The name of that replica
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where it is reached from now on, when that has changed: a list of one, as for `serve`
    #[arg(long, value_name = "NAME=HOST")]
    replicas: Option<String>,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// How the result is shown: words for people, or JSON
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let name = MemberName::new(&arguments.name).map_err(|error| Failure::Usage(error.to_string()))?;
    let listed = arguments
        .replicas
        .as_deref()
        .map(|list| only(list, &name))
        .transpose()?;
    let recovery = Recovery::open(&arguments.data_dir, &name).map_err(|error| failure(&error))?;
    for line in outlook(&recovery) {
        note(&line);
    }
    if !arguments.yes && !is_agreed()? {
        return Err(Failure::Usage(
            "nothing was changed; add --yes to make the new cluster".to_owned(),
        ));
    }
    let last = recovery.last();
    let recovered = recovery.run(listed.as_ref()).await;
    let recovered = recovered.map_err(|error| failure(&error))?;
    let view = View::of(&recovered, last.index.0);
    let format = arguments.output;
    Output { format }.result(&view, || view.show())
}

/// The one entry of a list, which must be that of the replica itself.
fn only(list: &str, name: &MemberName) -> Result<Listed, Failure> {
    let listed = serve::parse_list(list).map_err(Failure::Usage)?;
    match <[Listed; 1]>::try_from(listed) {
        Ok([listed]) if listed.name == *name => Ok(listed),
        _ => Err(Failure::Usage(format!(
            "--replicas: list {name} alone; the new cluster has one member, and others join it later"
        ))),
    }
}

/// What will be done, and what may be lost.
fn outlook(recovery: &Recovery) -> Vec<String> {
    let (identity, log, last) = (recovery.identity(), recovery.log(), recovery.last());
    let others: Vec<String> = recovery
        .members()
        .iter()
        .filter(|member| member.node != identity.node)
        .map(|member| member.name.to_string())
        .collect();
    let others = match others.is_empty() {
        true => "the other members, if there were any,".to_owned(),
        false => others.join(" and "),
    };
    let committed = log.committed.map_or(0, |committed| committed.index.0);
    let open = match last.index.0.saturating_sub(committed) {
        0 => String::new(),
        open => format!(
            "; of the last {open} it is not known whether they were committed, and they count, acknowledged or not"
        ),
    };
    vec![
        format!(
            "{} (node {}) of cluster {} becomes the only member of a new cluster; {others} can never take part in it",
            identity.name, identity.node, identity.cluster
        ),
        format!(
            "kept: everything in its log, which ends at index {} of term {}{open}",
            last.index, last.term
        ),
        "lost: what the others acknowledged without this replica; how much that is cannot be known from here"
            .to_owned(),
    ]
}

/// Asks whoever sits at the terminal.
fn is_agreed() -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    note("type yes to go on");
    let mut line = String::new();
    stdin
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::Failed(format!("the answer cannot be read: {error}")))?;
    Ok(line.trim() == "yes")
}

fn failure(error: &RecoverError) -> Failure {
    match error {
        RecoverError::NoAddress { .. } | RecoverError::OtherName { .. } => Failure::Usage(chain(error)),
        _ => Failure::Failed(chain(error)),
    }
}

/// The new cluster, as JSON.
#[derive(Debug, Serialize)]
struct View {
    cluster_id: String,
    node_id: u64,
    name: String,
    client_address: String,
    last_index: u64,
    kept: Option<String>,
}

impl View {
    fn of(recovered: &Recovered, last_index: u64) -> Self {
        Self {
            cluster_id: recovered.cluster.to_string(),
            node_id: recovered.member.node.0,
            name: recovered.member.name.to_string(),
            client_address: recovered.member.client_address.clone(),
            last_index,
            kept: recovered.kept.as_ref().map(|kept| kept.display().to_string()),
        }
    }

    fn show(&self) -> String {
        let kept = self.kept.as_ref().map_or_else(String::new, |kept| {
            format!("; what was there is kept in {kept}: remove it when all is well")
        });
        let line = format!(
            "{} is the new cluster {}, with everything up to index {}; start it with itself as the only one in --replicas, \
             clients at {}{kept}",
            self.name, self.cluster_id, self.last_index, self.client_address
        );
        plain(&line) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use quorate::{ClusterId, Member, NodeId};

    use super::*;

    #[test]
    fn the_list_is_of_the_replica_alone() {
        let name = MemberName::new("a").unwrap();
        let cases = [
            ("a=host", true),
            ("b=host", false),
            ("a=host,b=other", false),
            ("a", false),
            ("", false),
        ];
        for (list, want) in cases {
            assert_eq!(only(list, &name).is_ok(), want, "{list}");
        }
    }

    #[test]
    fn the_result_for_people() {
        let mut recovered = Recovered {
            cluster: ClusterId(0xc),
            member: Member {
                node: NodeId(2),
                name: MemberName::new("b").unwrap(),
                client_address: "b:2379".to_owned(),
                ..Member::default()
            },
            kept: None,
        };
        let shown = |recovered: &Recovered| View::of(recovered, 57).show();
        assert!(shown(&recovered).ends_with("clients at b:2379\n"));
        recovered.kept = Some("/data/before-1\u{1b}".into());
        let shown = shown(&recovered);
        assert!(
            shown.contains("kept in /data/before-1\\u{1b}: remove it"),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 1);
    }
}
