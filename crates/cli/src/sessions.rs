//! `quorate sessions`: the workers that hold sessions.
//!
//! Promises: linearizable, page after page. Left out on purpose: opening and ending sessions; that is the workers'.

use std::collections::BTreeMap;

use quorate_client::v1;
use serde::Serialize;

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::table::{Column, left, right};
use crate::output::time::{millis, utc};
use crate::output::words;

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
    /// Show all live sessions
    #[command(after_help = "Example: quorate sessions list --kind query-node --output json")]
    List {
        /// Only the sessions of this kind of worker
        #[arg(long, value_enum)]
        kind: Option<Kind>,
    },
}

/// Kinds of workers.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Proxy,
    QueryNode,
    DataNode,
    IndexNode,
}

impl From<Kind> for v1::WorkerKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Proxy => Self::Proxy,
            Kind::QueryNode => Self::QueryNode,
            Kind::DataNode => Self::DataNode,
            Kind::IndexNode => Self::IndexNode,
        }
    }
}

/// A session, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    session_id: u64,
    epoch: u64,
    worker: Worker,
    /// 0 in a watch when the session has ended since.
    ttl_ms: u64,
    opened_at_ms: u64,
}

#[derive(Debug, Serialize)]
struct Worker {
    kind: String,
    name: String,
    address: String,
    zone: String,
    resource_group: String,
    capacity: BTreeMap<String, u64>,
}

/// Runs one command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.connection.client()?;
    let output = arguments.connection.output();
    let Command::List { kind } = arguments.command;
    let rows = client.sessions().list_all(kind.map(v1::WorkerKind::from));
    let listed = output.listing(rows, COLUMNS, cells, View::of).await;
    client.close().await;
    listed
}

impl View {
    pub(crate) fn of(session: &v1::Session) -> Self {
        let worker = session.worker.clone().unwrap_or_default();
        Self {
            session_id: session.session_id,
            epoch: session.epoch,
            worker: Worker {
                kind: words::worker_kind(worker.kind),
                name: worker.name,
                address: worker.address,
                zone: worker.zone,
                resource_group: worker.resource_group,
                capacity: worker.capacity,
            },
            ttl_ms: session.ttl_ms,
            opened_at_ms: session.opened_at_ms,
        }
    }
}

const COLUMNS: &[Column] = &[
    left("WORKER"),
    left("KIND"),
    left("ADDRESS"),
    left("ZONE"),
    right("SESSION"),
    right("EPOCH"),
    right("TTL"),
    left("OPENED"),
];

fn cells(session: &v1::Session) -> Vec<String> {
    let view = View::of(session);
    vec![
        view.worker.name,
        view.worker.kind,
        view.worker.address,
        view.worker.zone,
        view.session_id.to_string(),
        view.epoch.to_string(),
        millis(view.ttl_ms),
        utc(view.opened_at_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json_line;
    use crate::output::table::Table;

    #[test]
    fn a_session_for_people_and_as_json() {
        let session = v1::Session {
            session_id: 12,
            epoch: 4,
            worker: Some(v1::Worker {
                kind: v1::WorkerKind::QueryNode.into(),
                name: "q1\u{7}".to_owned(),
                address: "10.0.0.9:21123".to_owned(),
                zone: "z".to_owned(),
                resource_group: "rg".to_owned(),
                capacity: [("slots".to_owned(), 8)].into(),
            }),
            ttl_ms: 30_000,
            opened_at_ms: 1_795_244_622_123,
        };
        let mut table = Table::new(COLUMNS);
        table.row(cells(&session));
        assert_eq!(
            table.take(),
            "WORKER   KIND        ADDRESS         ZONE  SESSION  EPOCH   TTL  OPENED\n\
             q1\\u{7}  query_node  10.0.0.9:21123  z          12      4  30 s  2026-11-21 07:03:42Z\n"
        );
        assert_eq!(
            json_line(&View::of(&session)).unwrap(),
            concat!(
                r#"{"session_id":12,"epoch":4,"worker":{"kind":"query_node","name":"q1\u0007","#,
                r#""address":"10.0.0.9:21123","zone":"z","resource_group":"rg","capacity":{"slots":8}},"#,
                r#""ttl_ms":30000,"opened_at_ms":1795244622123}"#,
                "\n"
            )
        );
        assert_eq!(cells(&v1::Session::default())[1], "unspecified");
    }
}
