//! Whose data directory this is, and its form as a small text file that an operator can read.
//!
//! The file also carries the directory's format and the boot counter, so that everything in sled is a copy. Its last
//! line is a checksum of all lines before it.

use std::fmt;

use quorate_types::{ClusterId, Incarnation, MemberName, NodeId};

/// The replica that a data directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id in the Raft group.
    pub node: NodeId,
    /// This very directory: a wiped and refilled one differs in it.
    pub incarnation: Incarnation,
    /// The operator's name for it.
    pub name: MemberName,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (node {} of cluster {}, incarnation {})",
            self.name, self.node, self.cluster, self.incarnation
        )
    }
}

/// The newest format of a data directory that this version reads and writes.
///
/// History: 1 (2026-11): raft-log 0.4 chunks in `log/`, snapshots of format 1, facts in sled 0.34.
pub(crate) const DIRECTORY_FORMAT: u64 = 1;

const TITLE: &str = "# Written by quorate: names this data directory. Do not edit.";

/// What the file `IDENTITY` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdentityFile {
    pub(crate) identity: Option<Identity>,
    pub(crate) boots: u64,
}

/// Why its text is not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IdentityFileError {
    Newer { found: u64 },
    Damaged(&'static str),
}

impl IdentityFile {
    pub(crate) fn encode(&self) -> String {
        let mut text = format!("{TITLE}\nformat {DIRECTORY_FORMAT}\n");
        if let Some(id) = &self.identity {
            text.push_str(&format!(
                "cluster {}\nnode {}\nincarnation {}\nname {}\n",
                id.cluster, id.node, id.incarnation, id.name
            ));
        }
        text.push_str(&format!("boots {}\n", self.boots));
        let crc = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("crc32 {crc:08x}\n"));
        text
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, IdentityFileError> {
        use IdentityFileError::Damaged;
        let text = str::from_utf8(bytes).map_err(|_| Damaged("it is not text"))?;
        let body_bytes = text.strip_suffix('\n').and_then(|t| t.rfind('\n')).map(|i| i + 1);
        let (body, last) = text.split_at(body_bytes.ok_or(Damaged("its last line is missing"))?);
        // Compared as text: no other spelling of the same number passes.
        if last != format!("crc32 {:08x}\n", crc32fast::hash(body.as_bytes())) {
            return Err(Damaged("its checksum does not match"));
        }

        let mut lines = body.lines();
        if lines.next() != Some(TITLE) {
            return Err(Damaged("its first line is not ours"));
        }
        let mut field = |name: &'static str, missing: &'static str| {
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map(str::to_owned).ok_or(Damaged(missing))
        };
        let format = field("format", "the format is missing")?;
        let format = format
            .parse()
            .map_err(|_| Damaged("the format is not a number"))?;
        if format > DIRECTORY_FORMAT {
            return Err(IdentityFileError::Newer { found: format });
        }
        let identity = if body.lines().count() > 3 {
            let (cluster, node) = (
                field("cluster", "the cluster is missing")?,
                field("node", "the node is missing")?,
            );
            let (incarnation, name) = (
                field("incarnation", "the incarnation is missing")?,
                field("name", "the name is missing")?,
            );
            Some(Identity {
                cluster: cluster.parse().map_err(|_| Damaged("the cluster is no id"))?,
                node: NodeId(node.parse().map_err(|_| Damaged("the node is not a number"))?),
                incarnation: incarnation
                    .parse()
                    .map_err(|_| Damaged("the incarnation is no id"))?,
                name: MemberName::new(name).map_err(|_| Damaged("the name is none"))?,
            })
        } else {
            None
        };
        let boots = field("boots", "the boots are missing")?;
        let boots = boots.parse().map_err(|_| Damaged("the boots are not a number"))?;
        match lines.next() {
            None => Ok(Self { identity, boots }),
            Some(_) => Err(Damaged("it has a line too many")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> IdentityFile {
        IdentityFile {
            identity: Some(Identity {
                cluster: ClusterId(0xc1),
                node: NodeId(3),
                incarnation: Incarnation(7),
                name: MemberName::new("quorate-0").expect("a name"),
            }),
            boots: 12,
        }
    }

    #[test]
    fn the_text_is_pinned() {
        let want = "# Written by quorate: names this data directory. Do not edit.\nformat 1\n\
                    cluster 000000000000000000000000000000c1\nnode 3\n\
                    incarnation 00000000000000000000000000000007\nname quorate-0\nboots 12\ncrc32 f42cf785\n";
        let text = sample().encode();
        assert_eq!(text, want);
        let fresh = IdentityFile::default();
        assert_eq!(IdentityFile::decode(fresh.encode().as_bytes()), Ok(fresh));
        assert_eq!(IdentityFile::decode(text.as_bytes()), Ok(sample()));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let text = sample().encode().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(IdentityFile::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..text.len() {
            assert!(IdentityFile::decode(&text[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let body = format!("{TITLE}\nformat 2\nsomething new\n");
        let text = format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()));
        assert_eq!(
            IdentityFile::decode(text.as_bytes()),
            Err(IdentityFileError::Newer { found: 2 })
        );
    }
}
