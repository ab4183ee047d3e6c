//! A real etcd beside the cluster, for comparison: its processes, and a client that loses as little time as etcd allows.

mod client;
mod group;
mod members;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use group::Group;
pub use members::{Member, Members};

/// How fast etcd's members notice that their leader is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// As it is delivered: heartbeat 100 ms, election 1,000 ms.
    Default,
    /// As fast as its flags allow to be sensible: heartbeat 10 ms, election 50 ms.
    Fast,
}

impl Timing {
    pub(crate) const ALL: [Self; 2] = [Self::Default, Self::Fast];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "etcd-100-1000",
            Self::Fast => "etcd-10-50",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::Fast => &["--heartbeat-interval=10", "--election-timeout=50"],
        }
    }
}
