//! Who may import whom. Reads `cargo metadata`; DESIGN in one table, broken by a failing test and not by a habit.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every crate, and the crates of ours that it may depend on outside of tests.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("quorate-types", &[]),
    ("quorate-host", &[]),
    ("quorate-tls", &["quorate-host"]),
    ("quorate-format", &["quorate-types"]),
    ("quorate-machine", &["quorate-types", "quorate-format"]),
    (
        "quorate-store",
        &["quorate-types", "quorate-host", "quorate-format"],
    ),
    (
        "quorate-replica",
        &[
            "quorate-types",
            "quorate-host",
            "quorate-format",
            "quorate-machine",
            "quorate-store",
        ],
    ),
    ("quorate-api", &["quorate-types"]),
    (
        "quorate-server",
        &["quorate-types", "quorate-host", "quorate-api", "quorate-replica"],
    ),
    (
        "quorate-etcd",
        &["quorate-types", "quorate-host", "quorate-api", "quorate-replica"],
    ),
    (
        "quorate-client",
        &["quorate-types", "quorate-host", "quorate-tls", "quorate-api"],
    ),
    ("quorate-local", &["quorate-types", "quorate-client"]),
    (
        "quorate-bench",
        &["quorate-types", "quorate-host", "quorate-client", "quorate-local"],
    ),
    (
        "quorate-bench-etcd",
        &["quorate-api", "quorate-bench", "quorate-local"],
    ),
    (
        "quorate",
        &[
            "quorate-types",
            "quorate-host",
            "quorate-tls",
            "quorate-store",
            "quorate-replica",
            "quorate-server",
            "quorate-etcd",
        ],
    ),
    (
        "quorate-cli",
        &[
            "quorate-types",
            "quorate-host",
            "quorate-api",
            "quorate-client",
            "quorate-local",
            "quorate-bench",
            "quorate",
        ],
    ),
    // May import anything of ours: it exists to test it.
    ("quorate-testkit", &["*"]),
];

/// What the pure crate must never see, not even through another crate.
const MACHINE_NEVER: &[&str] = &["tokio", "tonic", "openraft", "sled", "rand", "tracing", "hyper"];
/// What the library crate must never see.
const LIBRARY_NEVER: &[&str] = &["clap", "crossterm"];
/// Crates that only one of ours may name.
const ONLY: &[(&str, &[&str])] = &[
    ("sled", &["quorate-store"]),
    ("raft-log", &["quorate-store"]),
    ("openraft", &["quorate-replica"]),
    ("bincode", &["quorate-format"]),
    ("clap", &["quorate-cli", "quorate-bench-etcd"]),
    ("rustls", &["quorate-tls"]),
    ("ring", &["quorate-etcd"]),
    ("tokio-rustls", &["quorate-tls"]),
];

struct Workspace {
    /// Our packages: name to the names of all normal dependencies.
    ours: BTreeMap<String, BTreeSet<String>>,
    /// Every package: id to name, and id to the ids of its normal dependencies.
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// The platform that this machine's compiler builds for.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc tells its host").to_owned()
}

fn workspace() -> Workspace {
    // Only what this platform needs: a new machine has fetched nothing else, and nothing is fetched here.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();

    let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
    let mut ours = BTreeMap::new();
    let mut names = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let (id, name) = (text(&package["id"]), text(&package["name"]));
        if members.contains(&id) {
            let normal = |dependency: &&Value| dependency["kind"].is_null();
            let dependencies = list(&package["dependencies"]);
            let dependencies = dependencies
                .iter()
                .filter(normal)
                .map(|dependency| text(&dependency["name"]));
            ours.insert(name.clone(), dependencies.collect());
        }
        names.insert(id, name);
    }
    let mut edges = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let is_normal = |dependency: &&Value| {
            list(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
        };
        let dependencies = list(&node["deps"]);
        let dependencies = dependencies
            .iter()
            .filter(is_normal)
            .map(|dependency| text(&dependency["pkg"]));
        edges.insert(text(&node["id"]), dependencies.collect());
    }
    Workspace { ours, names, edges }
}

impl Workspace {
    /// The names of everything that `package` depends on, directly or not.
    fn reaches(&self, package: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = self
            .names
            .iter()
            .filter(|(_, name)| *name == package)
            .map(|(id, _)| id)
            .collect();
        while let Some(id) = next.pop() {
            for dependency in self.edges.get(id).into_iter().flatten() {
                if reached.insert(dependency) {
                    next.push(dependency);
                }
            }
        }
        reached.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn crates_import_only_what_they_may() {
    let workspace = workspace();
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    for (name, dependencies) in &workspace.ours {
        let allowed = rules
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} has no rule in tests/layers.rs"));
        for dependency in dependencies
            .iter()
            .filter(|dependency| workspace.ours.contains_key(*dependency))
        {
            let may = allowed.contains(&"*") || allowed.contains(&dependency.as_str());
            assert!(may, "{name} must not depend on {dependency}");
        }
    }
    for (name, _) in MAY_IMPORT {
        assert!(
            workspace.ours.contains_key(*name),
            "the rule for {name} is about a crate that does not exist"
        );
    }
}

#[test]
fn the_machine_is_pure_and_the_library_has_no_command_line() {
    let workspace = workspace();
    for (package, never) in [("quorate-machine", MACHINE_NEVER), ("quorate", LIBRARY_NEVER)] {
        let reached = workspace.reaches(package);
        for banned in never {
            assert!(!reached.contains(banned), "{package} reaches {banned}");
        }
    }
}

#[test]
fn some_crates_have_one_home() {
    let workspace = workspace();
    for (dependency, homes) in ONLY {
        for (name, dependencies) in &workspace.ours {
            let named = dependencies.contains(*dependency);
            assert!(
                !named || homes.contains(&name.as_str()),
                "{name} names {dependency}; only {homes:?} may"
            );
        }
    }
}
