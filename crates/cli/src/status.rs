//! `quorate status`: how every replica is doing, and whether they agree.
//!
//! Promises: every member of the group is shown, also one that does not answer, with the reason; nothing needs a leader.
//! Exit code 3, after everything that is known was printed, when no leader answers that has a majority. Left out on purpose: following
//! changes; `/metrics` of the replicas is for that.

mod json;
mod picture;
mod table;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use quorate_client::{Client, Error, v1};
use quorate_types::NodeId;

use crate::connect::{Connection, reached};
use crate::exit::Failure;
use picture::{Picture, Replica};

/// How long a replica may take to tell its status while others have told theirs.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  quorate status --seeds quorate-0:2379,quorate-1:2379
  quorate status --output json | jq .leader.name

Exit code 3 when no leader with a majority answers.")]
pub(crate) struct Status {
    #[command(flatten)]
    connection: Connection,
}

/// Asks all replicas and shows what they say.
pub(crate) async fn run(status: Status) -> Result<(), Failure> {
    let client = status.connection.client()?;
    let taken = take(&client, status.connection.deadline()).await;
    client.close().await;
    let picture = taken?;
    let output = status.connection.output();
    output.result(&json::View::of(&picture), || table::show(&picture, unix_ms()))?;
    match picture.in_power() {
        Some(_) => Ok(()),
        None => Err(Failure::Unavailable(picture.why_leaderless())),
    }
}

async fn take(client: &Client, deadline: Duration) -> Result<Picture, Failure> {
    reached(client).await?;
    let asking = client.with_deadline(deadline.min(PATIENCE));
    let asked = client.members().into_iter().map(|member| async {
        let answer = asking.cluster().status(NodeId(member.node_id)).await;
        let answer = answer.map_err(|error| why(&member, &error));
        Replica { member, answer }
    });
    let mut replicas = join_all(asked).await;
    if replicas.is_empty() {
        return Err(Failure::Unavailable(
            "a replica answers, but it is part of no group yet; start the others of its --replicas"
                .to_owned(),
        ));
    }
    replicas.sort_by_key(|replica| replica.member.node_id);
    Ok(Picture { replicas })
}

/// What is wrong with this replica. The client's message tells of all of them, `address: words` between semicolons.
fn why(member: &v1::MemberInfo, error: &Error) -> String {
    let message = error.to_string();
    let address = &member.client_address;
    let clauses = message.split("; ").filter_map(|clause| {
        let clause = clause.strip_prefix("now ").unwrap_or(clause);
        let words = clause.strip_prefix(address.as_str())?.strip_prefix(": ")?;
        Some(words.to_owned())
    });
    clauses.last().unwrap_or(message)
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use quorate_client::Outcome;

    use super::*;

    #[test]
    fn the_reason_of_one_replica_is_found_among_all() {
        let cases = [
            (
                "its own words",
                "Status got no answer within 2s; now a:1 answers as node 1; b:2: connection refused; c:3: timed out",
                "connection refused",
            ),
            (
                "the first one",
                "Status got no answer within 2s; now b:2: no route",
                "no route",
            ),
            (
                "not of another port",
                "Status; b:22: connection refused",
                "Status; b:22: connection refused; nothing was executed",
            ),
            (
                "nothing known",
                "Status got no answer",
                "Status got no answer; nothing was executed",
            ),
        ];
        let member = v1::MemberInfo {
            client_address: "b:2".to_owned(),
            ..Default::default()
        };
        for (name, message, want) in cases {
            let error = Error::Unavailable {
                outcome: Outcome::NotExecuted,
                why: message.to_owned(),
            };
            assert_eq!(why(&member, &error), want, "{name}");
        }
    }
}
