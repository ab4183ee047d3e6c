//! What operators ask and are told, in etcd's words.
//!
//! Promises: figures are those of the replica that answers, and none is invented: where Quorate has nothing that fits, a
//! field has its zero. Left out on purpose: alarms, which nothing here raises (a full disk stops a replica, and a replica
//! whose state differs from its majority's stops itself), and downgrades.

use quorate_api::etcdserverpb::alarm_request::AlarmAction;
use quorate_api::etcdserverpb::downgrade_request::DowngradeAction;
use quorate_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, DowngradeRequest, ResponseHeader, StatusResponse,
};
use quorate_replica::machine::Counts;
use quorate_types::Index;

use super::{Declined, Invalid, signed};
use crate::group::Progress;

/// The release of etcd whose interface this is: its clients compare it with the one in which something came. Quorate's own
/// is shown by `quorate status`, by `/status.json`, and in a snapshot.
pub(crate) const ETCD_RELEASE: &str = "3.5.33";

/// How a replica is.
pub(crate) fn status(header: ResponseHeader, counts: &Counts, progress: Progress) -> StatusResponse {
    let index = |index: Option<Index>| index.map_or(0, |index| index.0);
    // In memory nothing is free between rows, so that what is allocated is in use.
    let bytes = signed(counts.row_bytes.saturating_add(counts.history_bytes));
    let no_leader = progress
        .leader
        .is_none()
        .then(|| "etcdserver: no leader".to_owned());
    StatusResponse {
        version: ETCD_RELEASE.to_owned(),
        db_size: bytes,
        db_size_in_use: bytes,
        leader: progress.leader.map_or(0, |leader| leader.0),
        raft_index: index(progress.committed),
        raft_term: header.raft_term,
        raft_applied_index: index(progress.applied),
        errors: no_leader.into_iter().chain(progress.fault).collect(),
        is_learner: progress.is_learner,
        header: Some(header),
        ..StatusResponse::default()
    }
}

/// The alarms that a request is about: there are none, which is also what silencing one comes to.
pub(crate) fn alarms(request: &AlarmRequest) -> Result<Vec<AlarmMember>, Declined> {
    match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get | AlarmAction::Deactivate) => Ok(Vec::new()),
        // etcd, too, raises nothing then.
        Ok(AlarmAction::Activate) if request.alarm == i32::from(AlarmType::None) => Ok(Vec::new()),
        Ok(AlarmAction::Activate) => Err(Declined::AlarmsNotRaised),
        Err(_) => Err(Declined::UnknownMethod),
    }
}

/// Why there is no downgrade.
pub(crate) fn downgrade(request: &DowngradeRequest) -> Result<Declined, Invalid> {
    match DowngradeAction::try_from(request.action) {
        Ok(DowngradeAction::Validate | DowngradeAction::Enable) => Err(match is_release(&request.version) {
            true => Invalid::DowngradeTarget,
            false => Invalid::DowngradeFormat,
        }),
        Ok(DowngradeAction::Cancel) => Ok(Declined::NoDowngrade),
        Err(_) => Ok(Declined::UnknownMethod),
    }
}

/// `3.4`, `3.4.7` or `3.4.7-rc.0+build`.
fn is_release(version: &str) -> bool {
    let (numbers, has_suffix) = match version.split_once(['-', '+']) {
        Some((numbers, _)) => (numbers, true),
        None => (version, false),
    };
    let numbers: Vec<&str> = numbers.split('.').collect();
    let is_number = |text: &&str| text.parse::<i64>().is_ok() && !text.starts_with('+');
    (numbers.len() == 3 || numbers.len() == 2 && !has_suffix) && numbers.iter().all(is_number)
}

#[cfg(test)]
mod tests {
    use quorate_types::NodeId;

    use super::*;

    fn header() -> ResponseHeader {
        ResponseHeader {
            cluster_id: 7,
            member_id: 2,
            revision: 9,
            raft_term: 3,
        }
    }

    #[test]
    fn a_status_has_the_replicas_own_figures() {
        let counts = Counts {
            rows: 5,
            row_bytes: 1_000,
            history_changes: 7,
            history_bytes: 234,
            ..Counts::default()
        };
        let progress = Progress {
            leader: Some(NodeId(1)),
            leads: false,
            is_learner: true,
            committed: Some(Index(12)),
            applied: Some(Index(11)),
            fault: None,
        };
        let want = StatusResponse {
            header: Some(header()),
            version: "3.5.33".to_owned(),
            db_size: 1_234,
            leader: 1,
            raft_index: 12,
            raft_term: 3,
            raft_applied_index: 11,
            errors: Vec::new(),
            db_size_in_use: 1_234,
            is_learner: true,
            storage_version: String::new(),
            db_size_quota: 0,
            downgrade_info: None,
        };
        assert_eq!(status(header(), &counts, progress), want);
        let faulty = Progress {
            fault: Some("the disk failed".to_owned()),
            ..Progress::default()
        };
        let told = status(header(), &Counts::default(), faulty);
        assert_eq!(told.errors, ["etcdserver: no leader", "the disk failed"]);
        assert_eq!((told.leader, told.raft_index, told.raft_applied_index), (0, 0, 0));
        let huge = Counts {
            row_bytes: u64::MAX,
            history_bytes: u64::MAX,
            ..Counts::default()
        };
        assert_eq!(status(header(), &huge, Progress::default()).db_size, i64::MAX);
    }

    #[test]
    fn there_are_no_alarms() {
        let (get, activate, deactivate) = (0, 1, 2);
        let (none, no_space, corrupt) = (0, 1, 2);
        let cases = [
            (get, none, Ok(vec![])),
            (get, corrupt, Ok(vec![])),
            (get, 77, Ok(vec![])),
            (activate, none, Ok(vec![])),
            (activate, no_space, Err(Declined::AlarmsNotRaised)),
            (activate, corrupt, Err(Declined::AlarmsNotRaised)),
            (activate, 77, Err(Declined::AlarmsNotRaised)),
            (deactivate, none, Ok(vec![])),
            (deactivate, no_space, Ok(vec![])),
            (3, none, Err(Declined::UnknownMethod)),
            (-1, none, Err(Declined::UnknownMethod)),
        ];
        for (action, alarm, want) in cases {
            let request = AlarmRequest {
                action,
                member_id: u64::MAX,
                alarm,
            };
            assert_eq!(alarms(&request), want, "{request:?}");
        }
    }

    #[test]
    fn there_is_no_way_back() {
        let (validate, enable, cancel) = (0, 1, 2);
        let cases = [
            (validate, "3.4", Err(Invalid::DowngradeTarget)),
            (enable, "3.4", Err(Invalid::DowngradeTarget)),
            (validate, "3.4.7", Err(Invalid::DowngradeTarget)),
            (validate, "3.4.7-rc.0+x", Err(Invalid::DowngradeTarget)),
            (validate, "", Err(Invalid::DowngradeFormat)),
            (validate, "3", Err(Invalid::DowngradeFormat)),
            (validate, "3.4-rc.0", Err(Invalid::DowngradeFormat)),
            (validate, "3.4.7.1", Err(Invalid::DowngradeFormat)),
            (enable, "v3.4", Err(Invalid::DowngradeFormat)),
            (enable, "3.+4", Err(Invalid::DowngradeFormat)),
            (enable, "3.99999999999999999999", Err(Invalid::DowngradeFormat)),
            (cancel, "", Ok(Declined::NoDowngrade)),
            (3, "3.4", Ok(Declined::UnknownMethod)),
        ];
        for (action, version, want) in cases {
            let request = DowngradeRequest {
                action,
                version: version.to_owned(),
            };
            assert_eq!(downgrade(&request), want, "{request:?}");
        }
    }
}
