//! Random calls on a few keys: ranges with every option, puts, deletions, nested transactions, compactions.
//!
//! Promises: the seed alone decides what is asked, given the same answers; a call is text, so that one that differs can be put
//! into a script as it is. Left out on purpose: negative revisions in transactions, which are refused on purpose in another way
//! (see the file of differences).

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::run::Run;
use crate::script::call;

/// Calls of one run.
const CALLS: usize = 600;
/// Keys that are near each other, and some at the edges. Of more than six that are alike in what they are sorted by, etcd's
/// order is that of an algorithm which is not stable.
const KEYS: &[&str] = &["a", "a\\000", "ab", "b", "\\377", "\\377\\377"];
/// Nesting of transactions.
const DEPTH_MAX: usize = 3;

/// Runs one seed.
pub(crate) async fn run(seed: u64, programs: &Path) -> Result<(), String> {
    let mut run = Run::start("random", programs).await?;
    let mut generator = Generator {
        rng: StdRng::seed_from_u64(seed),
        risk: Risk::All,
        revision: 1,
        floor: 0,
        values: 0,
    };
    for _ in 0..CALLS {
        let text = generator.call();
        run.perform(&call(text.clone())?).await;
        if run.differs() {
            // What follows would differ because of it.
            break;
        }
        generator.revision = run.revision().max(1);
        let is_compaction = text.starts_with("Compact") && run.last().get("code").is_none();
        if let Some(revision) = text.strip_prefix("Compact revision: ").filter(|_| is_compaction) {
            generator.floor = revision.parse().unwrap_or_default();
        }
    }
    run.finish(&format!("seed {seed}")).await
}

/// What a call may be refused for. A transaction has one kind alone: which of several refusals is told differs in cases that
/// the file of differences lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Risk {
    All,
    /// Keys that are not there. A put of a value that the same transaction has deleted kills etcd; it refuses most of these,
    /// but not after a deletion "from a key on".
    Keys,
    /// Leases that are not there.
    Leases,
    /// Revisions that are forgotten or to come.
    Revisions,
}

struct Generator {
    rng: StdRng,
    /// What the call at hand may be refused for.
    risk: Risk,
    /// The keyspace's, as last told.
    revision: i64,
    /// The last one that was compacted to.
    floor: i64,
    /// Values so far, so that some differ.
    values: u32,
}

impl Generator {
    /// Holds with so many percent.
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.random_range(0..of.len())]
    }

    /// Whether the call at hand may be refused for this.
    fn may(&self, risk: Risk) -> bool {
        self.risk == risk || self.risk == Risk::All
    }

    fn call(&mut self) -> String {
        self.risk = Risk::All;
        match self.rng.random_range(0..100) {
            0..25 => format!("Put {}", self.put()),
            25..45 => {
                let negative = self.chance(3);
                let revision = if negative {
                    "revision: -1".to_owned()
                } else {
                    self.at()
                };
                format!("Range {} {revision}", self.range())
            }
            45..55 => format!("DeleteRange {}", self.delete()),
            55..97 => {
                self.risk = [Risk::Keys, Risk::Leases, Risk::Revisions][self.rng.random_range(0..3)];
                format!("Txn {}", self.txn(DEPTH_MAX))
            }
            _ => {
                let revision = self.rng.random_range((self.floor - 1).max(1)..=self.revision + 1);
                format!("Compact revision: {revision}")
            }
        }
    }

    fn key(&mut self) -> String {
        format!("key: \"{}\"", self.one(KEYS))
    }

    /// A key, or a range, or what is none because it ends before it begins.
    fn keys(&mut self) -> String {
        let key = self.key();
        match self.rng.random_range(0..10) {
            0..5 => key,
            5..8 => format!("{key} range_end: \"{}\"", self.one(KEYS)),
            8 => format!("{key} range_end: \"\\000\""),
            _ => "key: \"\\000\" range_end: \"\\000\"".to_owned(),
        }
    }

    fn value(&mut self) -> String {
        self.values += 1;
        match self.rng.random_range(0..4) {
            0 => String::new(),
            1 => "same".to_owned(),
            _ => format!("v{}", self.values),
        }
    }

    /// A revision of a read: mostly none, sometimes one that is forgotten or to come.
    fn at(&mut self) -> String {
        if !self.chance(25) {
            return String::new();
        }
        let revision = match self.may(Risk::Revisions) {
            true => self.some_revision(),
            false => self.rng.random_range(self.floor.max(1)..=self.revision),
        };
        format!("revision: {revision}")
    }

    /// One that is there, or nearly.
    fn some_revision(&mut self) -> i64 {
        self.rng.random_range((self.floor - 2).max(0)..=self.revision + 1)
    }

    fn range(&mut self) -> String {
        let mut text = self.keys();
        if self.chance(30) {
            text += &format!(" limit: {}", self.rng.random_range(-1..5));
        }
        if self.chance(40) {
            let order = self.one(&["NONE", "ASCEND", "DESCEND"]);
            let target = self.one(&["KEY", "VERSION", "CREATE", "MOD", "VALUE"]);
            text += &format!(" sort_order: {order} sort_target: {target}");
        }
        for option in ["keys_only", "count_only", "serializable"] {
            if self.chance(15) {
                text += &format!(" {option}: true");
            }
        }
        for bound in [
            "min_mod_revision",
            "max_mod_revision",
            "min_create_revision",
            "max_create_revision",
        ] {
            if self.chance(10) {
                text += &format!(" {bound}: {}", self.some_revision());
            }
        }
        text
    }

    fn put(&mut self) -> String {
        let mut text = self.key();
        let ignores_value = self.may(Risk::Keys) && self.chance(15);
        if !ignores_value || self.chance(10) {
            text += &format!(" value: \"{}\"", self.value());
        }
        if ignores_value {
            text += " ignore_value: true";
        }
        if self.may(Risk::Keys) && self.chance(15) {
            text += " ignore_lease: true";
        }
        if self.chance(40) {
            text += " prev_kv: true";
        }
        if self.may(Risk::Leases) && self.chance(4) {
            text += " lease: 404";
        }
        text
    }

    fn delete(&mut self) -> String {
        let keys = self.keys();
        let mut text = match self.risk {
            Risk::Keys if keys.ends_with("\\000\"") => self.key(),
            _ => keys,
        };
        if self.chance(40) {
            text += " prev_kv: true";
        }
        text
    }

    fn txn(&mut self, depth: usize) -> String {
        let mut text = String::new();
        for _ in 0..self.rng.random_range(0..3) {
            text += &format!("compare {{ {} }} ", self.compare());
        }
        for branch in ["success", "failure"] {
            for _ in 0..self.rng.random_range(0..4) {
                text += &format!("{branch} {{ {} }} ", self.op(depth));
            }
        }
        text
    }

    fn op(&mut self, depth: usize) -> String {
        match self.rng.random_range(0..10) {
            0..3 => {
                let at = self.at();
                format!("request_range {{ {} {at} }}", self.range())
            }
            3..7 => format!("request_put {{ {} }}", self.put()),
            7..9 => format!("request_delete_range {{ {} }}", self.delete()),
            _ if depth > 1 => format!("request_txn {{ {} }}", self.txn(depth - 1)),
            _ => format!("request_put {{ {} }}", self.put()),
        }
    }

    fn compare(&mut self) -> String {
        let keys = self.keys();
        let result = self.one(&["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]);
        let (target, operand) = match self.rng.random_range(0..5) {
            0 => ("VERSION", format!("version: {}", self.rng.random_range(0..4))),
            1 => ("CREATE", format!("create_revision: {}", self.some_revision())),
            2 => ("MOD", format!("mod_revision: {}", self.some_revision())),
            3 => ("VALUE", format!("value: \"{}\"", self.value())),
            _ => ("LEASE", "lease: 0".to_owned()),
        };
        format!("{keys} result: {result} target: {target} {operand}")
    }
}
