//! What programs see that talk to etcd with the crate `etcd-client`: one story for each service, told call by call.
//!
//! Promises: the same calls in the same order, whatever the server is, so that two servers can be compared. The calls are built
//! with the feature `etcd-client` alone, because that crate needs `protoc`. Left out on purpose: the comparison.

#[cfg(feature = "etcd-client")]
mod keeper;
#[cfg(feature = "etcd-client")]
mod teller;

/// Whether the calls are built.
pub const IS_BUILT: bool = cfg!(feature = "etcd-client");

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Keys.
    Kv,
    /// Leases.
    Lease,
    /// Watches.
    Watch,
    /// Members and maintenance.
    Cluster,
    /// Locks and elections.
    Lock,
    /// Users, roles, permissions.
    Auth,
}

/// Calls and what they were answered, in the words of their `Debug`; an error is its code and its text.
pub type Story = Vec<(String, String)>;

/// Tells one part on a server that is empty.
///
/// # Errors
/// When there is no connection, or the calls are not built.
pub async fn tell(part: Part, endpoints: &[String]) -> Result<Story, String> {
    #[cfg(feature = "etcd-client")]
    return teller::tell(part, endpoints).await;
    #[cfg(not(feature = "etcd-client"))]
    Err(format!(
        "{part:?} of {} endpoints: built without the feature etcd-client",
        endpoints.len()
    ))
}

/// Keeps a lease for as long as it is let, over every loss of the connection: a program that lives. Gives why the lease was lost.
pub async fn keep(endpoint: &str, lease: i64) -> String {
    #[cfg(feature = "etcd-client")]
    return keeper::keep(endpoint, lease).await;
    #[cfg(not(feature = "etcd-client"))]
    format!("lease {lease} at {endpoint}: built without the feature etcd-client")
}
