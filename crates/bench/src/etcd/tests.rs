//! Rounds against a real etcd. Its binary is not part of the project: name one in `QUORATE_ETCD`, or this is skipped.

use std::path::PathBuf;
use std::time::Duration;

use super::{Group, Timing};
use crate::fault::Fault;
use crate::pauses::Meter;
use crate::round;
use crate::system::System;

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_each_fault() {
    let Some(program) = std::env::var_os("QUORATE_ETCD").map(PathBuf::from) else {
        eprintln!("skipped: QUORATE_ETCD names no etcd binary");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let group = Group::start(&program, Timing::Fast, 3, directory.path())
        .await
        .expect("etcd starts");
    let meter = Meter::start(directory.path()).expect("starts");
    for fault in Fault::ALL {
        let round = round::run(&group, fault, Duration::from_secs(60), &meter)
            .await
            .expect("a round");
        eprintln!("{fault}: {round:?}");
        assert!(round.gap.is_some(), "{fault}: {round:?}");
        assert_eq!((round.failed, round.tally.lost), (0, 0), "{fault}: {round:?}");
    }
    Box::new(group).stop().await;
}
