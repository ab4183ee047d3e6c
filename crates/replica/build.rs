//! Compiles the peer protocol in pure Rust (protox). It lives here and not in `quorate-api`, so that no public message
//! can reach the log by accident.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let protos = PathBuf::from("../../proto");
    println!(
        "cargo::rerun-if-changed={}",
        protos.join("quorate/peer").display()
    );
    let descriptors = protox::compile(["quorate/peer/v1/peer.proto"], [&protos])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
