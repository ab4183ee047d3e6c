//! etcdctl over TLS: of this release, which speaks TLS 1.2 and nothing newer.
//!
//! Promises: whoever shows a certificate of the clients' CA is served at every replica, whoever shows none at none. Left out
//! on purpose: etcd, whose certificates are its own business.

use std::path::Path;

use quorate_local::{Cluster, Plan};
use quorate_testkit::certificates::{Authority, Wanted};
use tokio::time::{Instant, sleep};

use crate::answer::Answer;
use crate::ctl::Ctl;
use crate::servers::{LONG, LOOK_EVERY};

pub(crate) async fn run(programs: &Path) -> Result<(), String> {
    let directory = tempfile::Builder::new().prefix("quorate-tls-").tempdir();
    let directory = directory.map_err(|error| error.to_string())?;
    let paths = Authority::new("house").write(&directory.path().join("tls"), &Wanted::LOOPBACK);
    let [cert, key, ca] = [&paths.cert, &paths.key, &paths.ca].map(|path| path.display().to_string());
    let flags = [
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--tls-ca",
        &ca,
        "--tls-client-ca",
        &ca,
    ];
    let plan = Plan::new(env!("CARGO_BIN_EXE_quorate"), directory.path());
    let plan = flags.iter().fold(plan, |plan, flag| plan.argument(*flag));
    let cluster = Cluster::start(plan).await.map_err(|error| error.to_string())?;
    let known = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    for (number, seed) in cluster.seeds().iter().enumerate() {
        let ctl = Ctl::new(programs, &format!("https://{seed}"));
        let (name, value) = (format!("key{number}"), format!("value{number}"));
        let begun = Instant::now();
        // The group may still be forming.
        while !call(&ctl, &known, &["put", &name, &value])
            .await
            .says("stdout", "OK")
        {
            if begun.elapsed() > LONG {
                return Err(format!("{seed} takes no put over TLS"));
            }
            sleep(LOOK_EVERY).await;
        }
        for other in cluster.seeds() {
            let ctl = Ctl::new(programs, &format!("https://{other}"));
            let got = call(&ctl, &known, &["get", "--print-value-only", &name]).await;
            if !got.says("stdout", &value) {
                return Err(format!("{other} gives no value over TLS: {got:?}"));
            }
        }
        let refused = call(&ctl, &["--cacert", &ca], &["--command-timeout=1s", "get", &name]).await;
        if refused.says("exit", "0") {
            return Err(format!("{seed} serves who shows no certificate: {refused:?}"));
        }
    }
    Ok(())
}

async fn call(ctl: &Ctl, tls: &[&str], call: &[&str]) -> Answer {
    let arguments: Vec<String> = [tls, call].concat().iter().map(|&word| word.to_owned()).collect();
    ctl.run(&arguments, "").await
}
