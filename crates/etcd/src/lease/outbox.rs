//! What the leader is to be told of keepers of leases. Pure: moments in, decisions out.
//!
//! Promises: each piece of news is told until some leader has heard it, or [`UNTOLD_MAX`] has passed; a new leader is told
//! again what may still matter: of a break until the grace is certainly over, of a client that is back for as long as any
//! replica may still report a break that came before it. What is under way while the leader changes is told again. Left out on
//! purpose: who leads.
//!
//! Moments are durations since any fixed start, so that the tables need no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_replica::KeeperNewsKind;

use crate::limits::KEEPER_NEWS_MAX;

/// News that nobody has heard by then are out of date: there was no leader for this long, or none that could be reached.
const UNTOLD_MAX: Duration = Duration::from_secs(30);
/// Before news are told again that nobody took.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How long after its grace a break is certainly decided.
const DECIDED_AFTER: Duration = Duration::from_secs(1);

/// A piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    pub(super) connection: u64,
    pub(super) host: u64,
    /// When it happened.
    pub(super) at: Duration,
    pub(super) what: KeeperNewsKind,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    grace: Duration,
    /// How long a client that is back is remembered.
    remember: Duration,
    items: BTreeMap<u64, Item>,
    next: u64,
}

#[derive(Debug)]
struct Item {
    news: News,
    /// Not told before.
    due: Duration,
    state: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    /// Since the leader is this one, or since one before it.
    UnderWay {
        is_stale: bool,
    },
    At(Duration),
}

impl Outbox {
    pub(super) fn new(grace: Duration, remember: Duration) -> Self {
        Self {
            grace,
            remember,
            items: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds news that are not told before `due`; false when there are too many, and these are lost.
    pub(super) fn put(&mut self, news: News, due: Duration) -> bool {
        if self.items.len() >= KEEPER_NEWS_MAX {
            return false;
        }
        let item = Item {
            news,
            due,
            state: Told::No,
        };
        self.items.insert(self.next, item);
        self.next += 1;
        true
    }

    /// Takes news that are due, at most `max`: their numbers, and what they are.
    pub(super) fn take(&mut self, now: Duration, max: usize) -> Vec<(u64, News)> {
        let is_due = |item: &Item| item.state == Told::No && item.due <= now;
        let due = self.items.iter_mut().filter(|(_, item)| is_due(item)).take(max);
        let take = |(number, item): (&u64, &mut Item)| {
            item.state = Told::UnderWay { is_stale: false };
            (*number, item.news)
        };
        due.map(take).collect()
    }

    /// A leader has heard it, or nobody has.
    pub(super) fn told(&mut self, number: u64, is_heard: bool, now: Duration) {
        let Some(item) = self.items.get_mut(&number) else {
            return;
        };
        // Who keeps a lease is told once: the next leader is told what is so by then.
        let is_told = is_heard && item.state == (Told::UnderWay { is_stale: false });
        if is_told && matches!(item.news.what, KeeperNewsKind::Kept(_)) {
            self.items.remove(&number);
            return;
        }
        item.state = match (item.state, is_heard) {
            (Told::UnderWay { is_stale: false }, true) => Told::At(now),
            (Told::UnderWay { is_stale: true }, true) => Told::No,
            (state, true) => state,
            (_, false) => {
                item.due = item.due.max(now + AGAIN_AFTER);
                Told::No
            }
        };
    }

    /// The leader is a new one; what it is to know of who keeps leases is put in anew.
    pub(super) fn again(&mut self) {
        self.items
            .retain(|_, item| !matches!(item.news.what, KeeperNewsKind::Kept(_)));
        for item in self.items.values_mut() {
            item.state = match item.state {
                Told::UnderWay { .. } => Told::UnderWay { is_stale: true },
                Told::No | Told::At(_) => Told::No,
            };
        }
    }

    /// Forgets what does not matter any more.
    pub(super) fn sweep(&mut self, now: Duration) {
        let (grace, remember) = (self.grace, self.remember);
        self.items.retain(|_, item| {
            let told_until = |told: Duration| match item.news.what {
                KeeperNewsKind::Kept(_) => told,
                KeeperNewsKind::Broke(_) => told + grace + DECIDED_AFTER,
                KeeperNewsKind::Back => item.news.at + remember,
            };
            match item.state {
                Told::At(told) => now < told_until(told),
                Told::No | Told::UnderWay { .. } => now < item.due.max(item.news.at) + UNTOLD_MAX,
            }
        });
    }

    /// When the next news are due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let untold = self.items.values().filter(|item| item.state == Told::No);
        untold.map(|item| item.due).min()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);
    const REMEMBER: Duration = Duration::from_secs(16);
    const BROKE: KeeperNewsKind = KeeperNewsKind::Broke(7);
    const KEPT: KeeperNewsKind = KeeperNewsKind::Kept(7);
    const BACK: KeeperNewsKind = KeeperNewsKind::Back;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn outbox(what: KeeperNewsKind, due: u64) -> Outbox {
        let mut outbox = Outbox::new(GRACE, REMEMBER);
        let news = News {
            connection: 1,
            host: 2,
            at: ms(100),
            what,
        };
        assert!(outbox.put(news, ms(due)));
        outbox
    }

    fn take(outbox: &mut Outbox, now: u64) -> Vec<u64> {
        let taken = outbox.take(ms(now), 10);
        taken.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn news_are_told_when_they_are_due_and_until_they_are_heard() {
        let mut outbox = outbox(BROKE, 10_100);
        assert_eq!(outbox.next_due(), Some(ms(10_100)));
        assert_eq!(take(&mut outbox, 10_099), []);
        assert_eq!(take(&mut outbox, 10_100), [0]);
        assert_eq!(take(&mut outbox, 10_100), [], "it is under way");
        outbox.told(0, false, ms(10_200));
        assert_eq!(outbox.next_due(), Some(ms(10_200) + AGAIN_AFTER));
        assert_eq!(take(&mut outbox, 10_300), [0]);
        outbox.told(0, true, ms(10_300));
        assert_eq!((take(&mut outbox, 10_400), outbox.next_due()), (vec![], None));
    }

    #[test]
    fn a_new_leader_is_told_again_what_still_matters() {
        // News, when the leader changes after they were told at 200 ms, and whether the new one is told.
        let cases = [
            ("of a break", BROKE, 2_199, true),
            ("of one that is decided", BROKE, 2_200, false),
            ("of a client that is back", BACK, 16_099, true),
            ("of one that is back for long", BACK, 16_100, false),
            ("of who keeps a lease, which is found out anew", KEPT, 200, false),
        ];
        for (name, what, changes, want) in cases {
            let mut outbox = outbox(what, 100);
            assert_eq!(take(&mut outbox, 200), [0], "{name}");
            outbox.told(0, true, ms(200));
            outbox.sweep(ms(changes));
            outbox.again();
            assert_eq!(!take(&mut outbox, changes).is_empty(), want, "{name}");
        }
    }

    #[test]
    fn what_is_under_way_while_the_leader_changes_is_told_again() {
        let mut outbox = outbox(BROKE, 100);
        assert_eq!(take(&mut outbox, 100), [0]);
        outbox.again();
        assert_eq!(take(&mut outbox, 150), []);
        outbox.told(0, true, ms(150));
        assert_eq!(take(&mut outbox, 150), [0]);
        outbox.told(0, true, ms(160));
        assert_eq!(take(&mut outbox, 200), []);
    }

    #[test]
    fn what_nobody_hears_is_forgotten() {
        let mut outbox = outbox(BROKE, 10_000);
        outbox.sweep(ms(39_999));
        assert_eq!(outbox.len(), 1);
        outbox.sweep(ms(40_000));
        assert_eq!(outbox.len(), 0);
        outbox.told(0, true, ms(40_000));
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn what_is_too_much_is_lost() {
        let mut outbox = outbox(BROKE, 0);
        let news = outbox.take(ms(0), 1)[0].1;
        for _ in 1..KEEPER_NEWS_MAX {
            assert!(outbox.put(news, ms(0)));
        }
        assert!(!outbox.put(news, ms(0)));
        assert_eq!(outbox.len(), KEEPER_NEWS_MAX);
        assert_eq!(outbox.take(ms(0), 100).len(), 100, "so many at once");
    }
}
