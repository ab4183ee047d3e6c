//! `quorate leader`: who leads, and handing leadership over.
//!
//! Promises: a hand-over that is answered is done; who is shown has led with a majority behind it since the command
//! began, so that a leader that has lost its group is not taken for one. Left out on purpose: choosing a good successor; the leader does.

use clap::builder::NonEmptyStringValueParser;
use quorate_client::{Client, Error, Leader, v1};
use quorate_types::NodeId;
use serde::Serialize;

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::text::plain;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show who leads, confirmed by a majority
    #[command(after_help = "Example: quorate leader show --output json | jq -r .client_address")]
    Show,
    /// Hand leadership to another voter; answers when it leads
    #[command(after_help = "Examples:
  quorate leader transfer
  quorate leader transfer --to quorate-1")]
    Transfer {
        /// The replica that is to lead, by name or node id; without, the one that has the most of the log
        #[arg(long, value_name = "NAME|ID", value_parser = NonEmptyStringValueParser::new())]
        to: Option<String>,
    },
}

/// The leader, as JSON.
#[derive(Debug, Serialize)]
struct View {
    node_id: u64,
    name: String,
    client_address: String,
    term: u64,
}

/// Runs one command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.connection.client()?;
    let led = match arguments.command {
        Command::Show => confirmed(&client).await,
        Command::Transfer { to } => transfer(&client, to.as_deref()).await,
    };
    let members = client.members();
    client.close().await;
    let view = View::of(&led?, &members);
    arguments.connection.output().result(&view, || view.show())
}

/// Who leads, proved by a read: it is answered only by a leader that a majority follows.
async fn confirmed(client: &Client) -> Result<Leader, Failure> {
    let believed = client.ready().await?;
    let page = v1::Page {
        rows: 1,
        ..Default::default()
    };
    let request = v1::ListDatabasesRequest { page: Some(page) };
    match client.root().list_databases(request).await {
        Ok(_) => {}
        Err(error @ Error::Unavailable { .. }) => {
            return Err(Failure::Unavailable(format!(
                "no leader with a majority: {} says that it leads, but a read was not answered ({error}); \
                 `quorate status` tells which replicas are missing",
                believed.address
            )));
        }
        Err(error) => return Err(error.into()),
    }
    // Another may have taken over in between; the read was answered by the newest.
    let now = client.leader().borrow().clone();
    Ok(now.unwrap_or(believed))
}

async fn transfer(client: &Client, to: Option<&str>) -> Result<Leader, Failure> {
    client.ready().await?;
    let to = to.map(|to| node(to, &client.members())).transpose()?;
    Ok(client.cluster().transfer_leadership(to).await?)
}

/// The member with this name, or else with this node id.
fn node(text: &str, members: &[v1::MemberInfo]) -> Result<NodeId, Failure> {
    let named = members.iter().find(|member| member.name == text);
    let id: Option<u64> = text.parse().ok();
    let found = named.or_else(|| members.iter().find(|member| Some(member.node_id) == id));
    found.map(|member| NodeId(member.node_id)).ok_or_else(|| {
        let known: Vec<String> = members
            .iter()
            .map(|member| format!("{} ({})", member.name, member.node_id))
            .collect();
        Failure::Usage(format!(
            "--to {text}: no replica has this name or node id; there are {}",
            known.join(", ")
        ))
    })
}

impl View {
    fn of(leader: &Leader, members: &[v1::MemberInfo]) -> Self {
        let member = members.iter().find(|member| member.node_id == leader.node.0);
        Self {
            node_id: leader.node.0,
            name: member.map(|member| member.name.clone()).unwrap_or_default(),
            client_address: leader.address.clone(),
            term: leader.term.0,
        }
    }

    fn show(&self) -> String {
        let name = if self.name.is_empty() {
            "a replica"
        } else {
            &self.name
        };
        let line = format!(
            "{name} (node {}) leads at {}, term {}",
            self.node_id, self.client_address, self.term
        );
        plain(&line) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::Term;

    use super::*;
    use crate::output::json_line;

    fn members() -> Vec<v1::MemberInfo> {
        let names = [(1, "a"), (2, "1"), (3, "c\u{1b}")];
        let member = |(node_id, name): (u64, &str)| v1::MemberInfo {
            node_id,
            name: name.to_owned(),
            ..Default::default()
        };
        names.into_iter().map(member).collect()
    }

    #[test]
    fn a_successor_is_named_or_numbered() {
        let cases = [
            ("a", Some(1)),
            ("1", Some(2)),
            ("2", Some(2)),
            ("3", Some(3)),
            ("03", Some(3)),
            ("A", None),
            ("", None),
            ("0", None),
            ("-1", None),
            ("18446744073709551616", None),
        ];
        for (text, want) in cases {
            let got = node(text, &members()).ok().map(|node| node.0);
            assert_eq!(got, want, "{text:?}");
        }
        let error = node("x", &members()).unwrap_err();
        let want = "--to x: no replica has this name or node id; there are a (1), 1 (2), c\u{1b} (3)";
        assert_eq!(error, Failure::Usage(want.to_owned()));
    }

    #[test]
    fn the_leader_for_people_and_as_json() {
        let leader = Leader {
            node: NodeId(3),
            address: "10.0.0.3:2379".to_owned(),
            term: Term(7),
        };
        let view = View::of(&leader, &members());
        assert_eq!(view.show(), "c\\u{1b} (node 3) leads at 10.0.0.3:2379, term 7\n");
        assert_eq!(
            json_line(&view).unwrap(),
            "{\"node_id\":3,\"name\":\"c\\u001b\",\"client_address\":\"10.0.0.3:2379\",\"term\":7}\n"
        );
        assert_eq!(
            View::of(&leader, &[]).show(),
            "a replica (node 3) leads at 10.0.0.3:2379, term 7\n"
        );
    }
}
