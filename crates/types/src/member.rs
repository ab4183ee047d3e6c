//! A member of the Raft group as the membership entry records it.

use std::fmt;

use crate::limits::{ADDRESS_BYTES_MAX, MEMBER_NAME_BYTES_MAX};
use crate::{Incarnation, NodeId};

/// One configured participant: who it is and where it listens. Names in addresses are resolved at each dial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Member {
    /// Its id in the Raft group.
    pub node: NodeId,
    /// The operator's name for it; in a StatefulSet the pod's name.
    pub name: MemberName,
    /// The data directory that was admitted; a replica with another one must not act under this id.
    pub incarnation: Incarnation,
    /// `host:port` of the peer protocol (gRPC).
    pub peer_address: String,
    /// `host:port` of the liveness links (raw TCP).
    pub liveness_address: String,
    /// `host:port` for clients (gRPC).
    pub client_address: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (node {}, peers at {})",
            self.name, self.node, self.peer_address
        )
    }
}

/// A member's name: 1 to 63 of `a-z A-Z 0-9 - . _`, starting with a letter or a digit, as host names do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberName(String);

impl MemberName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let first = name.bytes().next().ok_or(NameError::Empty)?;
        if name.len() > MEMBER_NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: name.len() });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Character {
                found: name.chars().next().unwrap_or_default(),
            });
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        match name.chars().find(|c| !allowed(c)) {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(Self(name)),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a member's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It is longer than [`MEMBER_NAME_BYTES_MAX`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a character that host names do not have, or starts with a mark.
    Character {
        /// The first such character.
        found: char,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a replica's name is empty"),
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "a replica's name has {bytes} bytes; at most {MEMBER_NAME_BYTES_MAX} are allowed"
                )
            }
            Self::Character { found } => write!(
                f,
                "a replica's name has {found:?}; use letters, digits, '-', '.' and '_', starting with a letter or a digit"
            ),
        }
    }
}

impl std::error::Error for NameError {}

/// Why a text is not a `host:port` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    address: String,
    why: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.address.chars().take(80).collect();
        write!(
            f,
            "{shown:?} is not an address: {}; write host:port, for example 10.0.0.7:2380",
            self.why
        )
    }
}

impl std::error::Error for AddressError {}

/// Checks the shape of `host:port` without resolving it; IPv6 hosts stand in brackets.
///
/// # Errors
/// [`AddressError`] names what is missing or wrong.
pub fn check_address(address: &str) -> Result<(), AddressError> {
    let wrong = |why| {
        Err(AddressError {
            address: address.to_owned(),
            why,
        })
    };
    if address.len() > ADDRESS_BYTES_MAX {
        return wrong("it is longer than 260 bytes");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong("it has no port");
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host == "[]" {
        return wrong("it has no host");
    }
    if host.contains(':') && !bracketed {
        return wrong("an IPv6 host needs brackets");
    }
    if host
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '/')
    {
        return wrong("its host has a character that no host name has");
    }
    match port.parse::<u16>() {
        Ok(_) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => wrong("its port is not a number from 0 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        let cases: &[(&str, Result<(), NameError>)] = &[
            ("quorate-0", Ok(())),
            ("a", Ok(())),
            ("0.a_b-c", Ok(())),
            ("", Err(NameError::Empty)),
            (&long, Err(NameError::TooLong { bytes: 64 })),
            ("-a", Err(NameError::Character { found: '-' })),
            ("a b", Err(NameError::Character { found: ' ' })),
            ("naïve", Err(NameError::Character { found: 'ï' })),
        ];
        for (name, want) in cases {
            assert_eq!(MemberName::new(*name).map(|_| ()), *want, "{name:?}");
        }
    }

    #[test]
    fn addresses() {
        let long = format!("{}:1", "a".repeat(300));
        let cases: &[(&str, bool)] = &[
            ("localhost:2380", true),
            ("10.0.0.1:0", true),
            ("[::1]:2380", true),
            ("quorate-0.quorate.default.svc:2380", true),
            ("", false),
            ("localhost", false),
            (":2380", false),
            ("[]:2380", false),
            ("::1:2380", false),
            ("host:65536", false),
            ("host:+80", false),
            ("host:", false),
            ("http://host:80", false),
            ("ho st:80", false),
            (&long, false),
        ];
        for (address, want) in cases {
            assert_eq!(check_address(address).is_ok(), *want, "{address:?}");
        }
    }
}
