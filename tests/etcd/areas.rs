//! The scripts, and which of them Quorate serves already.

use std::path::Path;

/// One script.
pub(crate) struct Area {
    pub(crate) name: &'static str,
    /// The service that is not served yet; such an area is listed, and runs only when it is asked for.
    pub(crate) waits_for: Option<&'static str>,
}

const fn area(name: &'static str) -> Area {
    let waits_for = None;
    Area { name, waits_for }
}

impl Area {
    /// What it does, from the file of its name.
    pub(crate) fn script(&self) -> Result<String, String> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/etcd/scripts");
        std::fs::read_to_string(scripts.join(self.name)).map_err(|error| format!("{}: {error}", self.name))
    }
}

pub(crate) const AREAS: &[Area] = &[
    area("kv"),
    area("range"),
    area("txn"),
    area("compare"),
    area("compaction"),
    area("errors"),
    area("etcdctl"),
    area("lease"),
    area("watch"),
    area("etcdctl_more"),
    area("cluster"),
    area("lock"),
    area("election"),
    area("auth"),
    area("auth_calls"),
];
