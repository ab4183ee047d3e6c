//! Leases: requests and answers.

use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseStatus, LeaseTimeToLiveResponse, ResponseHeader,
};
use quorate_replica::KvLeaseTime;
use quorate_replica::machine::{Command, KvLeases};
use quorate_types::limits::KV_LEASE_TTL_S_MAX;

use super::{Invalid, signed};
use crate::limits::LEASE_TTL_S_MIN;

/// A grant: its id, its time to live in seconds, and the command. `chosen` is the id when the client leaves it open. A longer time
/// to live than `ttl_max_s` gets that.
pub(crate) fn grant(
    request: &LeaseGrantRequest,
    chosen: u64,
    ttl_max_s: Option<u64>,
) -> Result<(i64, u64, Command), Invalid> {
    let lease = match request.id {
        // Positive, as etcd's own are, and never 0.
        0 => (chosen & i64::MAX.cast_unsigned()).max(1).cast_signed(),
        id => id,
    };
    // Below the least, also below zero, is the least.
    let ttl_s = u64::try_from(request.ttl).unwrap_or(0).max(LEASE_TTL_S_MIN);
    if ttl_s > KV_LEASE_TTL_S_MAX {
        return Err(Invalid::TtlTooLarge);
    }
    let ttl_s = ttl_max_s.map_or(ttl_s, |max| ttl_s.min(max));
    Ok((lease, ttl_s, Command::GrantKvLease { lease, ttl_s }))
}

pub(crate) fn granted(header: ResponseHeader, lease: i64, ttl_s: u64) -> LeaseGrantResponse {
    LeaseGrantResponse {
        header: Some(header),
        id: lease,
        ttl: signed(ttl_s),
        error: String::new(),
    }
}

pub(crate) fn revoked(header: ResponseHeader) -> LeaseRevokeResponse {
    LeaseRevokeResponse { header: Some(header) }
}

/// The answer to a renewal.
pub(crate) fn kept(header: ResponseHeader, lease: i64, time: Option<KvLeaseTime>) -> LeaseKeepAliveResponse {
    LeaseKeepAliveResponse {
        header: Some(header),
        id: lease,
        ttl: time.map_or(0, |time| signed(time.ttl_s)),
    }
}

/// How long a lease has, and its keys when they are asked for.
pub(crate) fn time_to_live(
    header: ResponseHeader,
    lease: i64,
    time: Option<KvLeaseTime>,
    keys: Vec<bytes::Bytes>,
) -> LeaseTimeToLiveResponse {
    LeaseTimeToLiveResponse {
        header: Some(header),
        id: lease,
        ttl: time.map_or(-1, |time| signed(time.left.as_secs())),
        granted_ttl: time.map_or(0, |time| signed(time.ttl_s)),
        keys,
    }
}

/// All leases.
pub(crate) fn leases(header: ResponseHeader, leases: &KvLeases) -> LeaseLeasesResponse {
    let status = |lease: quorate_replica::machine::KvLease| LeaseStatus {
        id: lease.grant.lease,
    };
    LeaseLeasesResponse {
        header: Some(header),
        leases: leases.iter().map(status).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_etcd_reads_them() {
        let max = KV_LEASE_TTL_S_MAX.cast_signed();
        let cases = [
            ("as asked", 7, 60, Ok((7, 60))),
            ("an id of ours", 0, 60, Ok((9, 60))),
            ("a negative id", -7, 60, Ok((-7, 60))),
            ("no time to live", 7, 0, Ok((7, 2))),
            ("a negative one", 7, i64::MIN, Ok((7, 2))),
            ("a short one", 7, 1, Ok((7, 2))),
            ("the longest", 7, max, Ok((7, KV_LEASE_TTL_S_MAX))),
            ("too long", 7, max + 1, Err(Invalid::TtlTooLarge)),
        ];
        for (name, id, ttl, want) in cases {
            let read = grant(&LeaseGrantRequest { id, ttl }, 9, None);
            let read = read.map(|(lease, ttl_s, _)| (lease, ttl_s));
            assert_eq!(read, want, "{name}");
        }
    }

    #[test]
    fn a_cap_shortens_what_can_be_granted() {
        let max = KV_LEASE_TTL_S_MAX.cast_signed();
        let cases = [
            ("longer", 60, Ok(10)),
            ("as long", 10, Ok(10)),
            ("shorter", 3, Ok(3)),
            ("none", 0, Ok(2)),
            ("too long for anybody", max + 1, Err(Invalid::TtlTooLarge)),
        ];
        for (name, ttl, want) in cases {
            let read = grant(&LeaseGrantRequest { id: 7, ttl }, 9, Some(10));
            assert_eq!(read.map(|(_, ttl_s, _)| ttl_s), want, "{name}");
        }
    }

    #[test]
    fn ids_of_ours_are_positive() {
        let cases = [(0, 1), (1 << 63, 1), (u64::MAX, i64::MAX), (5 | 1 << 63, 5)];
        for (chosen, want) in cases {
            let read = grant(&LeaseGrantRequest { id: 0, ttl: 5 }, chosen, None);
            assert_eq!(read.map(|(lease, ..)| lease), Ok(want), "{chosen:x}");
        }
    }
}
