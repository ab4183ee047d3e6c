//! The calls themselves.

use std::fmt::Debug;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Client, CompactionOptions, Compare, CompareOp, DeleteOptions, Error, GetOptions,
    LeaderKey, LeaseGrantOptions, LeaseTimeToLiveOptions, LockOptions, Permission, ProclaimOptions,
    PutOptions, ResignOptions, RoleRevokePermissionOptions, SortOrder, SortTarget, Txn, TxnOp,
    UserAddOptions, WatchFilterType, WatchOptions, WatchStream,
};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Nothing here takes this long; a call that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(10);

use super::{Part, Story};

pub(super) async fn tell(part: Part, endpoints: &[String]) -> Result<Story, String> {
    let connecting = timeout(PATIENCE, Client::connect(endpoints, None)).await;
    let client = match connecting {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no connection within {} s", PATIENCE.as_secs())),
    };
    let mut teller = Teller {
        client,
        story: Story::new(),
    };
    match part {
        Part::Kv => teller.keys().await,
        Part::Lease => teller.leases().await,
        Part::Watch => teller.watches().await,
        Part::Cluster => teller.members().await,
        Part::Lock => teller.locks().await,
        Part::Auth => teller.users().await,
    }
    Ok(teller.story)
}

struct Teller {
    client: Client,
    story: Story,
}

/// What a call came to, unless it hung.
type Answer<T> = Result<Result<T, Error>, Elapsed>;

/// Makes a call and notes it under its own text.
macro_rules! call {
    ($teller:ident, $($call:tt)+) => {{
        let answer = timeout(PATIENCE, $teller.client.$($call)+).await;
        $teller.note(stringify!($($call)+), &answer)
    }};
}

/// Opens a stream and notes that.
macro_rules! open {
    ($teller:ident, $($call:tt)+) => {{
        let answer = timeout(PATIENCE, $teller.client.$($call)+).await;
        let (noted, opened) = match answer {
            Ok(Ok(stream)) => (Ok(Ok("a stream")), Some(stream)),
            Ok(Err(error)) => (Ok(Err(error)), None),
            Err(elapsed) => (Err(elapsed), None),
        };
        $teller.note(stringify!($($call)+), &noted);
        opened
    }};
}

impl Teller {
    fn note<T: Debug>(&mut self, call: &str, answer: &Answer<T>) {
        let told = match answer {
            Ok(Ok(answer)) => format!("{answer:?}"),
            Ok(Err(Error::GRpcStatus(status))) => format!("{:?}: {}", status.code(), status.message()),
            Ok(Err(error)) => format!("{error:?}"),
            Err(_) => "no answer".to_owned(),
        };
        let words: Vec<&str> = call.split_whitespace().collect();
        self.story.push((words.join(" "), told));
    }

    async fn keys(&mut self) {
        call!(self, put("a", "1", None));
        call!(self, put("a", "2", Some(PutOptions::new().with_prev_key())));
        call!(self, put("a", "", Some(PutOptions::new().with_ignore_value())));
        call!(self, put("none", "", Some(PutOptions::new().with_ignore_value())));
        call!(
            self,
            put("none", "x", Some(PutOptions::new().with_ignore_lease()))
        );
        call!(self, put("a", "x", Some(PutOptions::new().with_ignore_value())));
        call!(self, put("a", "x", Some(PutOptions::new().with_lease(404))));
        call!(self, put("", "x", None));
        for (key, value) in [("k1", "c"), ("k2", "a"), ("k3", "b"), ("l", "z")] {
            call!(self, put(key, value, None));
        }
        let prefix = || GetOptions::new().with_prefix();
        call!(self, get("a", None));
        call!(self, get("none", None));
        call!(self, get("", None));
        call!(self, get("k", Some(prefix())));
        call!(self, get("k", Some(prefix().with_keys_only())));
        call!(self, get("k", Some(prefix().with_count_only())));
        call!(self, get("k", Some(prefix().with_limit(2))));
        call!(
            self,
            get(
                "k",
                Some(prefix().with_sort(SortTarget::Value, SortOrder::Descend))
            )
        );
        call!(
            self,
            get(
                "k",
                Some(
                    prefix()
                        .with_sort(SortTarget::Mod, SortOrder::Descend)
                        .with_limit(1)
                )
            )
        );
        call!(self, get("k", Some(prefix().with_min_mod_revision(7))));
        call!(self, get("k", Some(prefix().with_max_create_revision(6))));
        call!(self, get("k2", Some(GetOptions::new().with_from_key())));
        call!(self, get("", Some(GetOptions::new().with_all_keys())));
        call!(
            self,
            get("a", Some(GetOptions::new().with_range("l").with_revision(2)))
        );
        call!(self, get("a", Some(GetOptions::new().with_revision(99))));
        call!(
            self,
            txn(Txn::new()
                .when([
                    Compare::value("a", CompareOp::Equal, "2"),
                    Compare::version("none", CompareOp::Equal, 0)
                ])
                .and_then([
                    TxnOp::put("a", "3", None),
                    TxnOp::get("k", Some(GetOptions::new().with_prefix()))
                ])
                .or_else([TxnOp::get("a", None)]))
        );
        call!(
            self,
            txn(Txn::new()
                .when([Compare::mod_revision("k", CompareOp::Greater, 7).with_prefix()])
                .and_then([TxnOp::put("never", "", None)])
                .or_else([
                    TxnOp::delete("k1", Some(DeleteOptions::new().with_prev_key())),
                    TxnOp::get("l", None)
                ]))
        );
        call!(
            self,
            txn(Txn::new().and_then([TxnOp::txn(
                Txn::new()
                    .when([Compare::create_revision("a", CompareOp::Less, 3)])
                    .and_then([TxnOp::put("n", "1", None)])
            )]))
        );
        call!(
            self,
            txn(Txn::new().and_then([TxnOp::put("d", "1", None), TxnOp::put("d", "2", None)]))
        );
        call!(self, txn(Txn::new()));
        call!(self, delete("k2", Some(DeleteOptions::new().with_prev_key())));
        call!(self, delete("none", None));
        call!(self, delete("k", Some(DeleteOptions::new().with_prefix())));
        call!(self, compact(5, None));
        call!(self, compact(5, None));
        call!(self, compact(99, None));
        call!(self, compact(6, Some(CompactionOptions::new().with_physical())));
        call!(self, get("a", Some(GetOptions::new().with_revision(4))));
        call!(
            self,
            get("k", Some(GetOptions::new().with_prefix().with_revision(7)))
        );
        call!(self, delete("", Some(DeleteOptions::new().with_all_keys())));
    }

    async fn leases(&mut self) {
        call!(self, leases());
        call!(self, lease_grant(60, Some(LeaseGrantOptions::new().with_id(11))));
        call!(self, lease_grant(60, Some(LeaseGrantOptions::new().with_id(11))));
        call!(
            self,
            lease_grant(9_000_000_001, Some(LeaseGrantOptions::new().with_id(12)))
        );
        call!(self, put("a", "1", Some(PutOptions::new().with_lease(11))));
        call!(self, put("b", "1", Some(PutOptions::new().with_lease(11))));
        call!(
            self,
            lease_time_to_live(404, Some(LeaseTimeToLiveOptions::new().with_keys()))
        );
        call!(self, leases());
        if let Some((mut keeper, mut answers)) = open!(self, lease_keep_alive(11)) {
            let renewed = timeout(PATIENCE, keeper.keep_alive()).await;
            self.note("keep_alive()", &renewed);
            let answered = timeout(PATIENCE, answers.message()).await;
            self.note("message()", &answered);
        }
        open!(self, lease_keep_alive(404));
        call!(
            self,
            txn(Txn::new()
                .when([Compare::lease("a", CompareOp::Equal, 11)])
                .and_then([TxnOp::get("a", None)]))
        );
        call!(self, lease_revoke(11));
        call!(self, lease_revoke(11));
        call!(self, get("", Some(GetOptions::new().with_all_keys())));
        call!(self, leases());
    }

    async fn watches(&mut self) {
        call!(self, put("a", "1", None));
        call!(self, put("a", "2", None));
        call!(self, delete("a", None));
        let from_the_start = || WatchOptions::new().with_start_revision(2).with_prev_key();
        if let Some(mut watch) = open!(self, watch("a", Some(from_the_start()))) {
            self.events(&mut watch, 3).await;
            call!(self, put("a", "3", None));
            self.events(&mut watch, 1).await;
        }
        let filtered = || {
            WatchOptions::new()
                .with_prefix()
                .with_filters([WatchFilterType::NoPut])
        };
        if let Some(mut watch) = open!(self, watch("p", Some(filtered()))) {
            call!(self, put("p1", "1", None));
            call!(self, delete("p", Some(DeleteOptions::new().with_prefix())));
            self.events(&mut watch, 1).await;
        }
        call!(self, compact(5, None));
        if let Some(mut watch) = open!(self, watch("a", Some(from_the_start()))) {
            for _ in ["created", "canceled"] {
                let ended = timeout(PATIENCE, watch.message()).await;
                self.note("message()", &ended);
            }
        }
    }

    /// Notes so many events, however they are packed.
    async fn events(&mut self, watch: &mut WatchStream, count: usize) {
        let mut left = count;
        while left > 0 {
            match timeout(PATIENCE, watch.message()).await {
                Ok(Ok(Some(answer))) => {
                    for event in answer.events() {
                        self.story.push(("event".to_owned(), format!("{event:?}")));
                    }
                    left = left.saturating_sub(answer.events().len());
                }
                ended => {
                    self.note("message()", &ended);
                    break;
                }
            }
        }
    }

    async fn users(&mut self) {
        call!(self, auth_enable());
        for (name, password) in [("root", "secret"), ("one", "uno")] {
            call!(self, user_add(name, password, None));
        }
        call!(self, user_add("one", "uno", None));
        let no_password = || UserAddOptions::new().with_no_pwd();
        call!(self, user_add("bare", "", Some(no_password())));
        call!(self, user_grant_role("root", "root"));
        for role in ["root", "r"] {
            call!(self, role_add(role));
        }
        call!(
            self,
            role_grant_permission("r", Permission::read("a").with_prefix())
        );
        call!(
            self,
            role_grant_permission("r", Permission::write("b").with_from_key())
        );
        call!(
            self,
            role_grant_permission("none", Permission::read_write("").with_all_keys())
        );
        call!(self, user_grant_role("one", "r"));
        call!(self, role_get("r"));
        call!(self, role_get("root"));
        call!(self, user_get("one"));
        call!(self, role_list());
        call!(self, user_list());
        call!(self, put("a", "1", None));
        call!(self, auth_enable());
        call!(self, get("a", None));
        call!(self, update_user(Some(("root".to_owned(), "wrong".to_owned()))));
        call!(self, update_user(Some(("one".to_owned(), "uno".to_owned()))));
        call!(self, get("a", None));
        call!(self, get("b", None));
        call!(self, put("a", "2", None));
        call!(self, put("b", "2", None));
        call!(self, put("b", "3", Some(PutOptions::new().with_prev_key())));
        call!(self, txn(Txn::new().and_then([TxnOp::put("a", "3", None)])));
        call!(self, user_list());
        call!(self, user_get("one"));
        open!(self, watch("a1", None));
        call!(self, update_user(Some(("root".to_owned(), "secret".to_owned()))));
        call!(self, get("", Some(GetOptions::new().with_all_keys())));
        call!(
            self,
            role_revoke_permission("r", "a", Some(RoleRevokePermissionOptions::new().with_prefix()))
        );
        call!(self, role_revoke_permission("r", "a", None));
        call!(self, user_change_password("one", "eins"));
        call!(self, user_revoke_role("one", "r"));
        call!(self, user_delete("one"));
        call!(self, role_delete("r"));
        call!(self, user_delete("root"));
        call!(self, auth_disable());
    }

    async fn locks(&mut self) {
        for lease in [21, 22] {
            call!(
                self,
                lease_grant(600, Some(LeaseGrantOptions::new().with_id(lease)))
            );
        }
        let with = |lease| Some(LockOptions::new().with_lease(lease));
        call!(self, lock("l", with(21)));
        call!(self, lock("l", with(21)));
        // The second one waits for the first.
        let mut other = self.client.clone();
        let waits = tokio::spawn(async move { timeout(PATIENCE, other.lock("l", with(22))).await });
        while !self.is_there("l/16").await {}
        call!(self, unlock("l/15"));
        if let Ok(locked) = waits.await {
            self.note("the second lock", &locked);
        }
        call!(self, unlock("l/16"));
        call!(self, unlock(""));
        call!(self, lock("l", with(404)));

        call!(self, leader("e"));
        call!(self, campaign("e", "a", 21));
        call!(self, leader("e"));
        let key = || {
            let key = LeaderKey::new().with_name("e").with_key("e/15");
            key.with_rev(6).with_lease(21)
        };
        let Some(mut observed) = open!(self, observe("e")) else {
            return;
        };
        let said = timeout(PATIENCE, observed.message()).await;
        self.note("observed", &said);
        let by = |key| Some(ProclaimOptions::new().with_leader(key));
        call!(self, proclaim("b", by(key())));
        let said = timeout(PATIENCE, observed.message()).await;
        self.note("observed", &said);
        call!(self, proclaim("c", by(key().with_rev(5))));
        call!(self, resign(Some(ResignOptions::new().with_leader(key()))));
        call!(self, resign(Some(ResignOptions::new().with_leader(key()))));
        call!(self, proclaim("d", by(key())));
        call!(self, leader("e"));
    }

    async fn is_there(&mut self, key: &str) -> bool {
        let read = timeout(PATIENCE, self.client.get(key, None)).await;
        !matches!(read, Ok(Ok(read)) if read.count() == 0)
    }

    async fn members(&mut self) {
        call!(self, alarm(AlarmAction::Get, AlarmType::None, None));
        call!(self, member_remove(404));
        call!(self, member_promote(404));
        call!(self, member_update(404, vec!["http://127.0.0.1:1".to_owned()]));
        call!(self, defragment());
    }
}
