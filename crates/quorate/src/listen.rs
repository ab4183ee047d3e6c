//! Binding the addresses of a replica, the liveness listener before everything else: from then on its being there means
//! that this process lives.

use quorate_host::{Listener, Network};
use quorate_replica::Listed;

use crate::error::{Port, StartError};

/// The bound addresses of one replica.
pub(crate) struct Bound {
    pub(crate) liveness: Listener,
    pub(crate) peers: Listener,
    pub(crate) clients: Listener,
    pub(crate) http: Option<Listener>,
}

/// Binds the ports of `entry` on host `bind`, those for other replicas through `replicas`, and the HTTP address.
pub(crate) async fn listen(
    replicas: &dyn Network,
    network: &dyn Network,
    bind: &str,
    entry: &Listed,
    http: Option<&str>,
) -> Result<Bound, StartError> {
    let on = |address: &str| format!("{}:{}", bracketed(bind), port(address));
    let liveness = bound(replicas, Port::Liveness, on(&entry.liveness_address)).await?;
    let peers = bound(replicas, Port::Peers, on(&entry.peer_address)).await?;
    let clients = bound(network, Port::Clients, on(&entry.client_address)).await?;
    let http = match http {
        Some(address) => Some(bound(network, Port::Http, address.to_owned()).await?),
        None => None,
    };
    Ok(Bound {
        liveness,
        peers,
        clients,
        http,
    })
}

async fn bound(network: &dyn Network, what: Port, address: String) -> Result<Listener, StartError> {
    let listening = network.listen(&address).await;
    listening.map_err(|cause| StartError::Listen { what, address, cause })
}

/// The port of a checked `host:port`.
pub(crate) fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or("", |(_, port)| port)
}

/// A host as it stands before a port: IPv6 in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (host, want) in [
            ("0.0.0.0", "0.0.0.0"),
            ("::", "[::]"),
            ("[::1]", "[::1]"),
            ("a.b", "a.b"),
        ] {
            assert_eq!(bracketed(host), want);
        }
        for (address, want) in [("a:2379", "2379"), ("[::1]:1", "1")] {
            assert_eq!(port(address), want);
        }
    }
}
