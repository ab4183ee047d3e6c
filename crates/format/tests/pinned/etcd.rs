//! What is kept of etcd's keys, leases and users.

use super::*;

/// A transaction with every field of every operation, and its answer.
#[test]
fn transactions_on_etcds_keys() {
    let range = KvRange {
        key: "a".into(),
        range_end: "b".into(),
        limit: 3,
        revision: 4,
        order: 2,
        target: 3,
        keys_only: true,
        count_only: true,
        min_mod_revision: 5,
        max_mod_revision: 6,
        min_create_revision: 7,
        max_create_revision: 8,
    };
    let put = KvPut {
        key: "k".into(),
        value: "v".into(),
        lease: -2,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: true,
    };
    let delete = KvDelete {
        key: "k".into(),
        range_end: "l".into(),
        prev_kv: true,
    };
    let op = |op| KvOp { op: Some(op) };
    let compare = |operand| KvCompare {
        key: "k".into(),
        range_end: "l".into(),
        relation: 3,
        operand: Some(operand),
    };
    let txn = KvTxn {
        compares: vec![
            compare(kv_compare::Operand::Version(1)),
            compare(kv_compare::Operand::Create(2)),
            compare(kv_compare::Operand::Mod(3)),
            compare(kv_compare::Operand::Value("v".into())),
            compare(kv_compare::Operand::Lease(-4)),
        ],
        success: vec![op(kv_op::Op::Range(range)), op(kv_op::Op::Put(put))],
        failure: vec![
            op(kv_op::Op::Delete(delete)),
            op(kv_op::Op::Txn(KvTxn::default())),
        ],
    };
    pin(
        &txn,
        "010a0a0a016b12016c180320010a0a0a016b12016c180328020a0a0a016b12016c180330030a0b0a016b12016c18033a01760a130a016b12016c180340fcffffffffffffffff01121c0a1a0a01611201621803200428023003380140014805500658076008121912170a016b12017618feffffffffffffffff012001280130011a0a1a080a016b12016c18011a022200",
    );
    let row = StoredRow {
        key: "k".into(),
        row: Some(Row {
            value: "v".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease: -2,
        }),
    };
    let before = KvBefore {
        count: 1,
        rows: vec![row.clone()],
    };
    let ranged = KvRanged {
        rows: vec![row],
        more: true,
        count: 9,
    };
    let kinds = [
        kv_result::Result::Range(ranged),
        kv_result::Result::Put(before.clone()),
        kv_result::Result::Delete(before),
        kv_result::Result::Txn(KvTxnResult::default()),
    ];
    let result = |kind| KvResult {
        revision: 5,
        result: Some(kind),
    };
    let reply = KvReply {
        revision: 5,
        result: Some(KvTxnResult {
            succeeded: true,
            results: kinds.map(result).to_vec(),
        }),
    };
    pin(
        &reply,
        "0108051273080112230805121f0a190a016b12140a017610021803200228feffffffffffffffff0110011809122108051a1d080112190a016b12140a017610021803200228feffffffffffffffff0112210805221d080112190a016b12140a017610021803200228feffffffffffffffff01120408052a00",
    );
    pin(&CompactKv { revision: 300 }, "0108ac02");
    let granted = GrantKvLease { lease: -2, ttl_s: 60 };
    pin(&granted, "0108feffffffffffffffff01103c");
    pin(&RevokeKvLease { lease: 7 }, "010807");
    let grants = vec![KvGrant {
        lease: 7,
        granted: 300,
    }];
    pin(&ExpireKvLeases { grants }, "010a05080710ac02");
    pin(&KvLeaseRow { ttl_s: 60 }, "01083c");
}

#[test]
fn users_and_roles() {
    let password = || {
        Some(KvPassword {
            kind: 1,
            rounds: 300,
            salt: "s".into(),
            hash: "h".into(),
        })
    };
    let permission = || KvPermission {
        access: 3,
        key: "k".into(),
        range_end: "l".into(),
    };
    let head = KvAuthRow {
        enabled: true,
        revision: 300,
        secret: "s".into(),
        enabled_at: 299,
    };
    pin(&head, "01080110ac021a017320ab02");
    let user = KvUserRow {
        no_password: true,
        password: password(),
        roles: vec!["a".into(), "b".into()],
        since: 300,
    };
    pin(&user, "010801120b080110ac021a01732201681a01611a016220ac02");
    let role = KvRoleRow {
        permissions: vec![permission()],
    };
    pin(&role, "010a08080312016b1a016c");
    let by = KvCaller {
        user: "u".into(),
        revision: 300,
    };
    pin(&by, "010a017510ac02");
    let mut on_behalf = entry(Command::RevokeKvLease(RevokeKvLease { lease: 7 }));
    on_behalf.by = Some(by);
    pin(&on_behalf, "0108e807100122060a017510ac028202020807");
    let changed = Answer {
        outcome: Some(Outcome::KvAuthChanged(Counted { count: 300 })),
    };
    pin(&changed, "018a020308ac02");
    let pin_change = |change, want| {
        let change = KvAuthChange { change: Some(change) };
        pin(&change, want);
    };
    use kv_auth_change::Change;
    pin_change(
        Change::Enable(EnableKvAuth { secret: "s".into() }),
        "010a030a0173",
    );
    pin_change(Change::Disable(DisableKvAuth {}), "011200");
    let add = AddKvUser {
        name: "u".into(),
        no_password: true,
        password: password(),
    };
    pin_change(Change::AddUser(add), "011a120a017510011a0b080110ac021a0173220168");
    pin_change(Change::DeleteUser("u".into()), "01220175");
    let change = ChangeKvPassword {
        name: "u".into(),
        password: password(),
    };
    pin_change(
        Change::ChangePassword(change),
        "012a100a0175120b080110ac021a0173220168",
    );
    let membership = || KvMembership {
        user: "u".into(),
        role: "r".into(),
    };
    pin_change(Change::GrantRole(membership()), "0132060a0175120172");
    pin_change(Change::RevokeRole(membership()), "013a060a0175120172");
    pin_change(Change::AddRole("r".into()), "01420172");
    pin_change(Change::DeleteRole("r".into()), "014a0172");
    let grant = GrantKvPermission {
        role: "r".into(),
        permission: Some(permission()),
    };
    pin_change(Change::GrantPermission(grant), "01520d0a01721208080312016b1a016c");
    let revoke = RevokeKvPermission {
        role: "r".into(),
        key: "k".into(),
        range_end: "l".into(),
    };
    pin_change(Change::RevokePermission(revoke), "015a090a017212016b1a016c");
}
