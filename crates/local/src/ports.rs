//! Ports that nobody else takes.
//!
//! Promises: the ports were free a moment ago, differ, and lie below the range from which the kernel takes the ports of
//! outgoing connections (32768 and up by default), so that no connection occupies the port of a replica that is down.
//! Left out on purpose: reserving them; a replica that finds its port taken says so and ends.

use std::net::TcpListener;

use rand::RngExt;

use crate::error::LocalError;

const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;
/// Stretches of ports to try before giving up.
const ATTEMPTS: usize = 200;

/// `count` free ports of 127.0.0.1, one after the other, for processes that are started beside a cluster, too.
///
/// # Errors
/// [`LocalError::Ports`].
pub fn free(count: usize) -> Result<Vec<u16>, LocalError> {
    let none = LocalError::Ports { wanted: count };
    let Some(last_start) = u16::try_from(count)
        .ok()
        .and_then(|count| LAST.checked_sub(count))
    else {
        return Err(none);
    };
    for _ in 0..ATTEMPTS {
        let start = rand::rng().random_range(FIRST..=last_start);
        let ports: Vec<u16> = (start..).take(count).collect();
        let all: Result<Vec<_>, _> = ports
            .iter()
            .map(|port| TcpListener::bind(("127.0.0.1", *port)))
            .collect();
        if all.is_ok() {
            return Ok(ports);
        }
    }
    Err(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_below_the_ephemeral_ones() {
        let ports = free(20).expect("free ports");
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| (FIRST..=LAST).contains(port)));
        assert!(
            ports
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        );
        assert!(matches!(free(60_000), Err(LocalError::Ports { wanted: 60_000 })));
    }
}
