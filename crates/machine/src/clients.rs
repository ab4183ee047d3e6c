//! Numbered writes happen once.
//!
//! A client registers under a random id and numbers its writes from 1 upwards. When an answer is lost, it proposes the
//! same write under the same number again, perhaps at another leader, and the log may then hold the write twice or more.
//! The machine executes the first and gives the remembered answer to the others. Each request also says below which
//! number the client needs no answers any more; they are forgotten.
//!
//! Promises:
//! - An answer is remembered whether it was a reply or a refusal. A refusal must be: think of a create that was refused
//!   because the name was taken, whose client reads the refusal and goes on. If a delayed duplicate of it arrived after the
//!   name became free and were decided anew, it would succeed, long after everybody was told that it had not.
//! - A number below the floor, or of a client that is not known, is refused and never executed: its answer cannot be told
//!   any more. For the same reason an evicted client cannot register again while the latest [`CLIENTS_MAX`] evictions are
//!   remembered: under a fresh registration its old duplicates would be executed a second time.
//! - Bounded: [`CLIENTS_MAX`] clients, and some more until the leader has evicted others; [`CLIENT_ANSWERS_MAX`] answers
//!   for each. One refusal is not remembered, because there is no room for it: that a client has too many answers
//!   unacknowledged. It means "not executed so far"; a client that meets it must repeat the same number with a higher
//!   floor, and one that keeps fewer requests open never meets it.
//!
//! Left out on purpose: rows. This bookkeeping lives beside the keyspaces: it moves no revision and wakes no watcher.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_types::limits::{
    CLIENT_ANSWERS_MAX, CLIENT_IDLE_MS, CLIENTS_MAX, CLIENTS_OVERSHOOT_MAX, EVICTIONS_PER_COMMAND_MAX,
};
use quorate_types::{ClientId, LogTime};

use crate::command::RequestId;
use crate::digest;
use crate::refusal::{Refusal, ShapeRule};
use crate::reply::Reply;

/// A client that the leader may evict, as it was when the leader looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleClient {
    /// Which.
    pub client: ClientId,
    /// Log time of its last write then. If it has written since, the eviction passes it by.
    pub last_used: LogTime,
}

/// A registered client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// It has the answers to all its requests below this sequence.
    pub(crate) floor: u64,
    /// Log time of its last write, or of its registration.
    pub(crate) last_used: LogTime,
    /// By sequence, all at or above the floor.
    pub(crate) answers: OrdMap<u64, Bytes>,
}

/// What to do with a request.
pub(crate) enum Admission {
    /// It was not seen before.
    Execute,
    /// It was: this is its answer.
    Replay(Bytes),
    /// It must not be executed, and its answer, if there was one, cannot be told.
    Refuse(Refusal),
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    clients: OrdMap<ClientId, Arc<Client>>,
    /// Evicted lately: by the order of eviction, and by id.
    retired: OrdMap<u64, ClientId>,
    retired_ids: OrdMap<ClientId, u64>,
    /// In all clients together.
    answers: usize,
    /// Wrapping sum over clients, answers and retired ids.
    digest: u128,
}

impl Clients {
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Answers in all clients together.
    pub(crate) fn answers(&self) -> usize {
        self.answers
    }

    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }

    /// By id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.clients.iter().map(|(id, client)| (*id, &**client))
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(&id).map(|client| &**client)
    }

    /// The first client above `after` by id; the first of all when it is `None`.
    pub(crate) fn next_after(&self, after: Option<ClientId>) -> Option<(ClientId, &Client)> {
        let from = match after {
            None => std::ops::Bound::Unbounded,
            Some(after) => std::ops::Bound::Excluded(after),
        };
        let mut rest = self.clients.range((from, std::ops::Bound::Unbounded));
        rest.next().map(|(id, client)| (*id, &**client))
    }

    /// Evicted lately, oldest first.
    pub(crate) fn retired(&self) -> impl Iterator<Item = ClientId> {
        self.retired.values().copied()
    }

    /// Makes a client known. Registering twice changes nothing.
    pub(crate) fn register(&mut self, id: ClientId, log_time: LogTime) -> Result<Reply, Refusal> {
        if self.clients.contains_key(&id) {
            return Ok(Reply::ClientRegistered);
        }
        if self.retired_ids.contains_key(&id) {
            return Err(Refusal::ClientUnknown { client: id });
        }
        if self.clients.len() >= CLIENTS_MAX + CLIENTS_OVERSHOOT_MAX {
            return Err(Refusal::ClientLimit);
        }
        self.insert(id, 0, log_time);
        Ok(Reply::ClientRegistered)
    }

    /// Forgets those of the clients that have not written since the leader looked.
    pub(crate) fn evict(&mut self, clients: &[IdleClient]) -> Result<Reply, Refusal> {
        let mut count = 0;
        for idle in clients {
            let id = idle.client;
            let unused = self
                .clients
                .get(&id)
                .filter(|client| client.last_used == idle.last_used);
            let Some(client) = unused.cloned() else {
                continue;
            };
            self.clients.remove(&id);
            self.answers -= client.answers.len();
            self.subtract(digest_of(id, &client));
            for (sequence, answer) in &client.answers {
                self.subtract(digest::answer(id, *sequence, answer));
            }
            self.retire(id);
            count += 1;
        }
        Ok(Reply::ClientsEvicted { count })
    }

    /// Clients that the leader should evict: idle for too long by log time, and the least recently used above the limit.
    /// At most as many as one command may evict, least recently used first.
    pub(crate) fn to_evict(&self, log_time: LogTime) -> Vec<IdleClient> {
        let mut all: Vec<_> = self
            .clients
            .iter()
            .map(|(id, client)| (client.last_used, *id))
            .collect();
        all.sort_unstable();
        let above = self.clients.len().saturating_sub(CLIENTS_MAX);
        let is_idle = |last_used: LogTime| log_time.0.saturating_sub(last_used.0) >= CLIENT_IDLE_MS;
        all.into_iter()
            .enumerate()
            .take_while(|(place, (last_used, _))| *place < above || is_idle(*last_used))
            .take(EVICTIONS_PER_COMMAND_MAX)
            .map(|(_, (last_used, client))| IdleClient { client, last_used })
            .collect()
    }

    /// Decides whether a request is executed. Changes nothing.
    pub(crate) fn admit(&self, request: &RequestId) -> Admission {
        let &RequestId {
            client: id,
            sequence,
            floor,
        } = request;
        let Some(client) = self.get(id) else {
            return Admission::Refuse(Refusal::ClientUnknown { client: id });
        };
        if sequence == 0 {
            return Admission::Refuse(Refusal::shape("request.sequence", ShapeRule::Empty));
        }
        if floor > sequence {
            return Admission::Refuse(Refusal::shape("request.floor", ShapeRule::AboveSequence));
        }
        if sequence < client.floor {
            let floor = client.floor;
            return Admission::Refuse(Refusal::RequestForgotten { sequence, floor });
        }
        if let Some(answer) = client.answers.get(&sequence) {
            return Admission::Replay(answer.clone());
        }
        let frees_some = client
            .answers
            .get_min()
            .is_some_and(|(oldest, _)| *oldest < floor);
        if client.answers.len() >= CLIENT_ANSWERS_MAX && !frees_some {
            return Admission::Refuse(Refusal::ClientAnswersLimit);
        }
        Admission::Execute
    }

    /// Remembers the answer to a request that was admitted. Nothing, if the request evicted its own client.
    pub(crate) fn remember(&mut self, request: &RequestId, answer: Bytes, log_time: LogTime) {
        self.touch(request, log_time);
        self.insert_answer(request.client, request.sequence, answer);
    }

    /// Notes that a client is alive and what it has acknowledged.
    pub(crate) fn touch(&mut self, request: &RequestId, log_time: LogTime) {
        let id = request.client;
        let Some(shared) = self.clients.get_mut(&id) else {
            return;
        };
        let client = Arc::make_mut(shared);
        let mut gone = digest_of(id, client);
        client.floor = client.floor.max(request.floor);
        client.last_used = log_time;
        let now = digest_of(id, client);
        while let Some((&oldest, answer)) = client
            .answers
            .get_min()
            .map(|(oldest, answer)| (oldest, answer.clone()))
        {
            if oldest >= client.floor {
                break;
            }
            gone = gone.wrapping_add(digest::answer(id, oldest, &answer));
            client.answers.remove(&oldest);
            self.answers -= 1;
        }
        self.subtract(gone);
        self.add(now);
    }

    /// Adds a client without answers.
    pub(crate) fn insert(&mut self, id: ClientId, floor: u64, last_used: LogTime) {
        let client = Client {
            floor,
            last_used,
            answers: OrdMap::new(),
        };
        self.add(digest_of(id, &client));
        self.clients.insert(id, Arc::new(client));
    }

    /// Adds an answer. `false` when there is no such client.
    pub(crate) fn insert_answer(&mut self, id: ClientId, sequence: u64, answer: Bytes) -> bool {
        let sum = digest::answer(id, sequence, &answer);
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        Arc::make_mut(client).answers.insert(sequence, answer);
        self.answers += 1;
        self.add(sum);
        true
    }

    /// Remembers that a client was evicted; the oldest such memory goes when there are too many.
    pub(crate) fn retire(&mut self, id: ClientId) {
        let place = self.retired.get_max().map_or(0, |(last, _)| last + 1);
        self.retired.insert(place, id);
        self.retired_ids.insert(id, place);
        self.add(digest::retired(id));
        if self.retired.len() <= CLIENTS_MAX {
            return;
        }
        if let Some(&(oldest, forgotten)) = self.retired.get_min() {
            self.retired.remove(&oldest);
            self.retired_ids.remove(&forgotten);
            self.subtract(digest::retired(forgotten));
        }
    }

    /// The digest, from scratch.
    pub(crate) fn recomputed_digest(&self) -> u128 {
        let clients = self.iter().flat_map(|(id, client)| {
            let answers = client.answers.iter();
            let answers = answers.map(move |(sequence, answer)| digest::answer(id, *sequence, answer));
            answers.chain([digest_of(id, client)])
        });
        let retired = self.retired().map(digest::retired);
        clients.chain(retired).fold(0, u128::wrapping_add)
    }

    fn add(&mut self, digest: u128) {
        self.digest = self.digest.wrapping_add(digest);
    }

    fn subtract(&mut self, digest: u128) {
        self.digest = self.digest.wrapping_sub(digest);
    }
}

fn digest_of(id: ClientId, client: &Client) -> u128 {
    digest::client(id, client.floor, client.last_used.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{AllocateIds, Command};
    use crate::fixture::{Log, create, drop, words};
    use crate::reply::Outcome;

    const C: ClientId = ClientId(0xc);

    fn request(sequence: u64, floor: u64) -> Option<RequestId> {
        Some(RequestId {
            client: C,
            sequence,
            floor,
        })
    }

    fn registered() -> Log {
        let mut log = Log::new();
        assert!(log.apply(&Command::RegisterClient { client: C }).is_ok());
        log
    }

    /// An outcome in words, and whether it was a remembered one.
    fn send(log: &mut Log, sequence: u64, floor: u64, command: &Command) -> (String, bool) {
        let applied = log.apply_at(0, request(sequence, floor), command);
        (words(applied.outcome), applied.replayed)
    }

    fn ids(log: &mut Log, sequence: u64, floor: u64) -> Outcome {
        let command = Command::AllocateIds(AllocateIds { count: 1 });
        log.apply_at(0, request(sequence, floor), &command).outcome
    }

    #[test]
    fn a_repeated_request_gets_the_first_answer_and_is_not_executed() {
        let mut log = registered();
        let first = ids(&mut log, 1, 1);
        let before = log.machine.image();
        let applied = log.apply_at(0, request(1, 1), &create("books"));
        assert_eq!(
            (applied.outcome, applied.replayed, applied.change_set),
            (first, true, None)
        );
        assert!(!log.machine.image().has_collection("", "books"));
        assert_eq!(log.machine.image().revision(), before.revision());
    }

    #[test]
    fn an_answer_is_remembered_until_it_is_acknowledged() {
        let mut log = registered();
        let first = ids(&mut log, 1, 1);
        assert_eq!(log.machine.image().remembered(C, 1), Some(first));
        assert_eq!(log.machine.image().remembered(C, 2), None);
        assert_eq!(log.machine.image().remembered(ClientId(1), 1), None);
        assert!(ids(&mut log, 2, 2).is_ok());
        assert_eq!(log.machine.image().remembered(C, 1), None, "below the floor");
    }

    #[test]
    fn a_refused_request_stays_refused_when_its_reason_is_gone() {
        let mut log = registered();
        assert!(log.apply(&create("books")).is_ok());
        let other = crate::fixture::create_with("books", |create| create.shards = 2);
        let (refused, replayed) = send(&mut log, 1, 1, &other);
        assert!(refused.contains("already") && !replayed);
        assert!(log.apply(&drop("books")).is_ok());
        assert_eq!(send(&mut log, 1, 1, &other), (refused, true));
        assert!(!log.machine.image().has_collection("", "books"));
    }

    #[test]
    fn a_request_below_the_floor_is_forgotten_and_not_executed() {
        let mut log = registered();
        for sequence in 1..=3 {
            assert!(ids(&mut log, sequence, 1).is_ok());
        }
        assert_eq!(log.machine.image().counts().answers, 3);
        assert!(ids(&mut log, 4, 3).is_ok());
        assert_eq!(log.machine.image().counts().answers, 2);
        let forgotten =
            "request 2 lies below the floor 3 that its client has acknowledged; its answer is forgotten";
        assert_eq!(
            send(&mut log, 2, 1, &create("books")),
            (forgotten.to_owned(), false)
        );
        assert!(
            send(&mut log, 3, 1, &create("books")).1,
            "at the floor it is remembered"
        );
        assert!(!log.machine.image().has_collection("", "books"));
    }

    #[test]
    fn requests_may_overtake_one_another() {
        let mut log = registered();
        let second = ids(&mut log, 2, 1);
        let first = ids(&mut log, 1, 1);
        assert_eq!((ids(&mut log, 1, 1), ids(&mut log, 2, 1)), (first, second));
    }

    #[test]
    fn the_largest_numbers_are_numbers_like_others() {
        let mut log = registered();
        let answer = ids(&mut log, u64::MAX, u64::MAX);
        assert!(answer.is_ok());
        let records = log
            .machine
            .image()
            .snapshot_records()
            .map(Ok::<_, std::convert::Infallible>);
        log.machine = crate::Machine::restore(records).expect("just written");
        assert_eq!(ids(&mut log, u64::MAX, 0), answer);
    }

    #[test]
    fn what_is_no_request_id_is_refused() {
        let mut log = registered();
        let cases = [
            (0, 0, "the parameter request.sequence is empty"),
            (
                3,
                4,
                "the parameter request.floor lies above the request's own sequence",
            ),
            (
                1,
                u64::MAX,
                "the parameter request.floor lies above the request's own sequence",
            ),
        ];
        for (sequence, floor, want) in cases {
            let before = log.machine.image().counts();
            assert_eq!(
                send(&mut log, sequence, floor, &create("books")),
                (want.to_owned(), false)
            );
            assert_eq!(log.machine.image().counts(), before);
        }
    }

    #[test]
    fn an_unknown_client_executes_nothing() {
        let mut log = Log::new();
        let unknown = "client 0000000000000000000000000000000c is not registered, or was evicted: whether the request \
                       was executed earlier cannot be told; register under a new random id";
        assert_eq!(
            send(&mut log, 1, 1, &create("books")),
            (unknown.to_owned(), false)
        );
        assert!(!log.machine.image().has_collection("", "books"));
        assert_eq!(log.machine.image().counts().answers, 0);
    }

    #[test]
    fn an_evicted_client_cannot_come_back_and_execute_twice() {
        let mut log = registered();
        assert!(ids(&mut log, 1, 1).is_ok());
        let evict = Command::EvictClients {
            clients: vec![IdleClient {
                client: C,
                last_used: log.machine.image().log_time(),
            }],
        };
        assert_eq!(log.apply(&evict), Ok(Reply::ClientsEvicted { count: 1 }));
        assert_eq!(log.apply(&evict), Ok(Reply::ClientsEvicted { count: 0 }));
        let counts = log.machine.image().counts();
        assert_eq!((counts.clients, counts.answers), (0, 0));
        let register = Command::RegisterClient { client: C };
        assert_eq!(log.apply(&register), Err(Refusal::ClientUnknown { client: C }));
        assert_eq!(ids(&mut log, 1, 1), Err(Refusal::ClientUnknown { client: C }));
    }

    #[test]
    fn a_request_that_evicts_its_own_client_leaves_nothing_behind() {
        let mut log = registered();
        let clients = vec![IdleClient {
            client: C,
            last_used: log.machine.image().log_time(),
        }];
        let evicted = log.apply_at(0, request(1, 1), &Command::EvictClients { clients });
        assert_eq!(evicted.outcome, Ok(Reply::ClientsEvicted { count: 1 }));
        assert_eq!(log.machine.image().counts().answers, 0);
    }

    #[test]
    fn a_client_that_has_written_since_is_not_evicted() {
        let mut log = registered();
        let clients = vec![IdleClient {
            client: C,
            last_used: log.machine.image().log_time(),
        }];
        let ids = Command::AllocateIds(AllocateIds { count: 1 });
        assert!(log.apply_at(5_000, request(1, 1), &ids).outcome.is_ok());
        let evict = Command::EvictClients { clients };
        assert_eq!(log.apply(&evict), Ok(Reply::ClientsEvicted { count: 0 }));
        assert!(log.machine.image().is_registered(C));
    }

    #[test]
    fn too_many_unacknowledged_answers_are_refused_until_the_floor_rises() {
        let mut log = registered();
        let max = CLIENT_ANSWERS_MAX as u64;
        for sequence in 1..=max {
            assert!(ids(&mut log, sequence, 1).is_ok());
        }
        assert_eq!(ids(&mut log, max + 1, 1), Err(Refusal::ClientAnswersLimit));
        assert!(ids(&mut log, 7, 1).is_ok(), "a repeated one is answered");
        assert_eq!(ids(&mut log, max + 1, 1), Err(Refusal::ClientAnswersLimit));
        assert!(ids(&mut log, max + 1, 2).is_ok());
        assert_eq!(log.machine.image().counts().answers, max);
    }

    #[test]
    fn idle_clients_and_those_above_the_limit_are_offered_for_eviction() {
        let mut clients = Clients::default();
        let now = LogTime(CLIENT_IDLE_MS + 10);
        for number in 0..20 {
            assert!(clients.register(ClientId(number), LogTime(number as u64)).is_ok());
        }
        let idle: Vec<_> = clients.to_evict(now).iter().map(|idle| idle.client.0).collect();
        assert_eq!(idle, (0..=10).collect::<Vec<_>>());

        let mut clients = Clients::default();
        for number in 0..(CLIENTS_MAX + CLIENTS_OVERSHOOT_MAX) as u128 {
            assert!(clients.register(ClientId(number), LogTime(5)).is_ok());
        }
        let one_more = clients.register(ClientId(u128::MAX), LogTime(5));
        assert_eq!(one_more, Err(Refusal::ClientLimit));
        let mut evicted = 0;
        loop {
            let some = clients.to_evict(LogTime(6));
            if some.is_empty() {
                break;
            }
            assert!(some.len() <= EVICTIONS_PER_COMMAND_MAX);
            evicted += some.len();
            assert!(clients.evict(&some).is_ok());
        }
        assert_eq!((evicted, clients.len()), (CLIENTS_OVERSHOOT_MAX, CLIENTS_MAX));
        assert_eq!(clients.digest(), clients.recomputed_digest());
    }

    #[test]
    fn the_memory_of_evictions_is_bounded() {
        let mut clients = Clients::default();
        for number in 0..(CLIENTS_MAX as u128 + 3) {
            clients.retire(ClientId(number));
        }
        assert_eq!(clients.retired().count(), CLIENTS_MAX);
        assert_eq!(clients.retired().next(), Some(ClientId(3)));
        assert_eq!(clients.digest(), clients.recomputed_digest());
        assert!(clients.register(ClientId(2), LogTime(0)).is_ok());
        assert!(clients.register(ClientId(3), LogTime(0)).is_err());
    }
}
