//! Backups and restored replicas, for people and as JSON.

use std::path::Path;

use quorate::MemberName;
use quorate::backup::{BackupContents, Restored};
use serde::Serialize;

use crate::output::text::plain;
use crate::output::time::utc;

/// Where the second column begins.
const INDENT: usize = 16;

/// A backup, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct View {
    file: String,
    format: u16,
    bytes: u64,
    crc32: String,
    cluster_id: String,
    release: String,
    members: Vec<MemberView>,
    term: u64,
    index: u64,
    revision: u64,
    log_time_unix_ms: u64,
    feature_level: u32,
    state_digest: String,
    content_digest: String,
    databases: u64,
    collections: u64,
    partitions: u64,
    aliases: u64,
    sessions: u64,
    clients: u64,
    rows: u64,
    row_bytes: u64,
    history_changes: u64,
}

#[derive(Debug, Serialize)]
struct MemberView {
    node_id: u64,
    name: String,
    client_address: String,
}

impl View {
    pub(super) fn of(path: &Path, contents: &BackupContents) -> Self {
        let counts = contents.counts;
        let member = |member: &quorate::Member| MemberView {
            node_id: member.node.0,
            name: member.name.to_string(),
            client_address: member.client_address.clone(),
        };
        Self {
            file: path.display().to_string(),
            format: contents.format,
            bytes: contents.bytes,
            crc32: format!("{:08x}", contents.crc),
            cluster_id: contents.cluster.to_string(),
            release: contents.release.clone(),
            members: contents.members.iter().map(member).collect(),
            term: contents.last.term.0,
            index: contents.last.index.0,
            revision: contents.revision.0,
            log_time_unix_ms: contents.log_time.0,
            feature_level: contents.feature_level,
            state_digest: format!("{:032x}", contents.digest),
            content_digest: format!("{:032x}", contents.content_digest),
            databases: counts.databases,
            collections: counts.collections,
            partitions: counts.partitions,
            aliases: counts.aliases,
            sessions: counts.sessions,
            clients: counts.clients,
            rows: counts.rows,
            row_bytes: counts.row_bytes,
            history_changes: counts.history_changes,
        }
    }

    pub(super) fn show(&self) -> String {
        let members: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        let lines = [
            ("file", format!("{}, {}", self.file, bytes(self.bytes))),
            (
                "checksums",
                format!("all right (format {}, crc32 {})", self.format, self.crc32),
            ),
            (
                "cluster",
                format!("{} of {}", self.cluster_id, members.join(", ")),
            ),
            ("release", self.release.clone()),
            ("log", format!("up to index {} of term {}", self.index, self.term)),
            ("last proposal", utc(self.log_time_unix_ms)),
            ("revision", self.revision.to_string()),
            ("feature level", self.feature_level.to_string()),
            ("state digest", self.state_digest.clone()),
            ("content digest", self.content_digest.clone()),
            (
                "catalog",
                format!(
                    "{} databases, {} collections, {} partitions, {} aliases",
                    self.databases, self.collections, self.partitions, self.aliases
                ),
            ),
            (
                "workers",
                format!("{} sessions, {} writing clients", self.sessions, self.clients),
            ),
            (
                "rows",
                format!(
                    "{} with {}, {} changes of history",
                    self.rows,
                    bytes(self.row_bytes),
                    self.history_changes
                ),
            ),
        ];
        let line = |(label, text): (&str, String)| format!("{label:<INDENT$}{}\n", plain(&text));
        lines.into_iter().map(line).collect()
    }
}

/// A restored replica, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct RestoredView {
    cluster_id: String,
    node_id: u64,
    name: String,
    data_dir: String,
    index: u64,
    revision: u64,
    state_digest: String,
    content_digest: String,
}

impl RestoredView {
    pub(super) fn of(name: &MemberName, data_dir: &Path, restored: &Restored) -> Self {
        let contents = &restored.contents;
        Self {
            cluster_id: restored.cluster.to_string(),
            node_id: restored.node.0,
            name: name.to_string(),
            data_dir: data_dir.display().to_string(),
            index: contents.last.index.0,
            revision: contents.revision.0,
            state_digest: format!("{:032x}", contents.digest),
            content_digest: format!("{:032x}", contents.content_digest),
        }
    }

    pub(super) fn show(&self) -> String {
        let line = format!(
            "{} is replica {} (node {}) of the new cluster {}, at revision {}; restore the others of the list, then start all",
            self.data_dir, self.name, self.node_id, self.cluster_id, self.revision
        );
        plain(&line) + "\n"
    }
}

/// A number of bytes for people.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use quorate::backup::Counts;
    use quorate::{ClusterId, Index, LogTime, Member, NodeId, Position, Revision, Term};

    use super::*;
    use crate::output::json_line;

    fn contents() -> BackupContents {
        let member = |node: u64, name: &str| Member {
            node: NodeId(node),
            name: MemberName::new(name).unwrap(),
            client_address: format!("{name}:2379"),
            ..Member::default()
        };
        BackupContents {
            format: 1,
            cluster: ClusterId(0xc),
            release: "0.1.0\u{1b}".to_owned(),
            members: vec![member(1, "a"), member(2, "b")],
            last: Position {
                term: Term(3),
                leader: NodeId(2),
                index: Index(57),
            },
            revision: Revision(21),
            log_time: LogTime(1_795_244_622_123),
            feature_level: 1,
            digest: 0xd,
            content_digest: 0xe,
            counts: Counts {
                databases: 1,
                collections: 2,
                partitions: 3,
                aliases: 4,
                sessions: 5,
                clients: 6,
                answers: 7,
                rows: 8,
                row_bytes: 9_000,
                history_changes: 10,
                history_bytes: 11,
            },
            bytes: 12_345_678,
            crc: 0xf,
        }
    }

    #[test]
    fn a_backup_for_people() {
        let want = "\
file            x\\u{1b}.snap, 12 MB
checksums       all right (format 1, crc32 0000000f)
cluster         0000000000000000000000000000000c of a, b
release         0.1.0\\u{1b}
log             up to index 57 of term 3
last proposal   2026-11-21 07:03:42Z
revision        21
feature level   1
state digest    0000000000000000000000000000000d
content digest  0000000000000000000000000000000e
catalog         1 databases, 2 collections, 3 partitions, 4 aliases
workers         5 sessions, 6 writing clients
rows            8 with 9000 bytes, 10 changes of history
";
        let view = View::of(Path::new("x\u{1b}.snap"), &contents());
        assert_eq!(view.show(), want);
    }

    #[test]
    fn the_json_is_stable() {
        let want = concat!(
            r#"{"file":"x.snap","format":1,"bytes":12345678,"crc32":"0000000f","#,
            r#""cluster_id":"0000000000000000000000000000000c","release":"0.1.0\u001b","#,
            r#""members":[{"node_id":1,"name":"a","client_address":"a:2379"},"#,
            r#"{"node_id":2,"name":"b","client_address":"b:2379"}],"term":3,"index":57,"revision":21,"#,
            r#""log_time_unix_ms":1795244622123,"feature_level":1,"#,
            r#""state_digest":"0000000000000000000000000000000d","#,
            r#""content_digest":"0000000000000000000000000000000e","databases":1,"collections":2,"partitions":3,"#,
            r#""aliases":4,"sessions":5,"clients":6,"rows":8,"row_bytes":9000,"history_changes":10}"#,
            "\n"
        );
        let view = View::of(Path::new("x.snap"), &contents());
        assert_eq!(json_line(&view).unwrap(), want);
    }

    #[test]
    fn bytes_for_people() {
        let cases = [
            (0, "0 bytes"),
            (9_999, "9999 bytes"),
            (10_000, "10 kB"),
            (9_999_999, "9999 kB"),
            (10_000_000, "10 MB"),
            (u64::MAX, "18446744073 GB"),
        ];
        for (given, want) in cases {
            assert_eq!(bytes(given), want);
        }
    }
}
