//! Compiles the durable messages in pure Rust (protox), so that no protoc is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: &[&str] = &["answer", "command", "row", "snapshot"];

fn main() -> Result<(), Box<dyn Error>> {
    let protos = PathBuf::from("../../proto");
    println!(
        "cargo::rerun-if-changed={}",
        protos.join("quorate/format").display()
    );

    let files = FILES.iter().map(|name| format!("quorate/format/v1/{name}.proto"));
    let descriptors = protox::compile(files, [&protos])?;
    // Ordered maps: equal values must have equal bytes on every replica. Bytes: rows are shared, not copied.
    prost_build::Config::new()
        .btree_map(["."])
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
