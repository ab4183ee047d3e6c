//! Compiles the public protos in pure Rust (protox), so that no protoc is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const SERVICES: &[&str] = &[
    "client", "cluster", "id", "member", "root", "session", "snapshot", "watch", "write",
];

fn main() -> Result<(), Box<dyn Error>> {
    let protos = PathBuf::from("../../proto");
    println!("cargo::rerun-if-changed={}", protos.join("quorate/v1").display());
    println!("cargo::rerun-if-changed={}", protos.join("etcd").display());
    println!("cargo::rerun-if-changed={}", protos.join("google").display());

    let mut files: Vec<String> = SERVICES
        .iter()
        .map(|name| format!("quorate/v1/{name}.proto"))
        .collect();
    for name in ["rpc", "v3lock", "v3election"] {
        files.push(format!("etcd/{name}.proto"));
    }
    files.push("google/rpc/status.proto".to_owned());
    let descriptors = protox::compile(&files, [&protos])?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        // Keys and values go from the request into the state and from there into answers, uncopied.
        .bytes(".etcdserverpb")
        .bytes(".mvccpb")
        .bytes(".authpb")
        .bytes(".v3lockpb")
        .bytes(".v3electionpb")
        .compile_fds(descriptors)?;
    Ok(())
}
