//! The machine: applies entries, one after the other.
//!
//! Promises: an entry is decided once, by one function of one domain; a refusal leaves nothing behind but the position, the
//! log time and, for a numbered request, the answer; after a [`Fault`] the state is what it was before the entry.

use std::sync::Arc;

use bytes::Bytes;
use quorate_types::{Index, LogTime, Revision};

use crate::clients::Admission;
use crate::command::Command;
use crate::domain::root::{alias, collection, database, partition};
use crate::domain::{id, kv, session};
use crate::entry::{self, Entry};
use crate::fault::Fault;
use crate::feature::{self, FEATURE_LEVEL_MAX};
use crate::image::Image;
use crate::keyspace::ChangeSet;
use crate::refusal::Refusal;
use crate::reply::Outcome;
use crate::snapshot::{self, RestoreError};
use crate::state::State;
use crate::txn::Txn;
use crate::user::KvCaller;
use crate::{answer, digest, lease};

/// The state machine of one replica.
#[derive(Debug, Clone)]
pub struct Machine {
    state: State,
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The answer to whoever proposed it.
    pub outcome: Outcome,
    /// What watchers get to see; `None` when no row changed.
    pub change_set: Option<Arc<ChangeSet>>,
    /// The answer is a remembered one; nothing was executed.
    pub replayed: bool,
}

impl Machine {
    /// The state before the first entry: the default database, feature level 1.
    #[must_use]
    pub fn genesis() -> Self {
        let mut state = State::empty();
        let mut txn = Txn::begin(&mut state);
        database::create_default(&mut txn);
        let effects = txn.finish();
        state.head = effects.head;
        state.meta.commit(effects.writes);
        Self { state }
    }

    /// Applies the command of the committed entry at `index`.
    ///
    /// # Errors
    /// A [`Fault`] stops the replica: the entry is not the next one, cannot be read, or is of a later release.
    pub fn apply(&mut self, index: Index, entry: &[u8]) -> Result<Applied, Fault> {
        self.check_next(index)?;
        let entry = entry::decode(index, entry, FEATURE_LEVEL_MAX)?;
        if let Command::RaiseFeatureLevel { level } = entry.command {
            feature::check_known(index, level, FEATURE_LEVEL_MAX)?;
        }
        self.state.position = Some(index);
        self.state.log_time = self.state.log_time.max(LogTime(entry.stamp_ms));
        Ok(self.admit(&entry))
    }

    /// Passes an entry without a command (a membership, a blank): only the position moves.
    ///
    /// # Errors
    /// A [`Fault`] stops the replica: the entry is not the next one.
    pub fn skip(&mut self, index: Index) -> Result<(), Fault> {
        self.check_next(index)?;
        self.state.position = Some(index);
        Ok(())
    }

    /// The present state, for readers and watchers. It costs the same whatever the size.
    #[must_use]
    pub fn image(&self) -> Image {
        Image::new(self.state.clone())
    }

    /// Revision of the metadata.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.meta.revision()
    }

    /// See [`Image::digest`].
    #[must_use]
    pub fn digest(&self) -> u128 {
        digest::state(&self.state)
    }

    /// The machine out of the records of [`Image::snapshot_records`].
    ///
    /// # Errors
    /// [`RestoreError`] says whether the source failed or what is wrong with which record. Nothing is taken over in part.
    pub fn restore<E>(records: impl Iterator<Item = Result<Bytes, E>>) -> Result<Self, RestoreError<E>> {
        let state = snapshot::read(records)?;
        Ok(Self { state })
    }

    fn check_next(&self, index: Index) -> Result<(), Fault> {
        let expected = self.state.next_index();
        if index != expected {
            return Err(Fault::Gap { expected, got: index });
        }
        Ok(())
    }

    /// Executes a request that was not seen before, and answers one that was.
    fn admit(&mut self, entry: &Entry) -> Applied {
        let Some(request) = &entry.request else {
            return self.execute(entry);
        };
        match self.state.clients.admit(request) {
            Admission::Execute => {
                let applied = self.execute(entry);
                let answer = answer::encode(&applied.outcome);
                self.state.clients.remember(request, answer, self.state.log_time);
                applied
            }
            Admission::Replay(answer) => {
                self.state.clients.touch(request, self.state.log_time);
                Applied {
                    outcome: answer::decode(&answer).expect("a remembered answer decodes"),
                    change_set: None,
                    replayed: true,
                }
            }
            Admission::Refuse(refusal) => refused(refusal),
        }
    }

    fn execute(&mut self, entry: &Entry) -> Applied {
        let (needs, has) = (entry.feature_level, self.state.head.feature_level);
        if needs > has {
            return refused(Refusal::FeatureLevel { needs, has });
        }
        let mut txn = Txn::begin(&mut self.state);
        let reply = match decide(&mut txn, None, &entry.command) {
            Ok(reply) => reply,
            Err(refusal) => {
                drop(txn);
                // What was changed already would become part of the next command's change.
                assert!(
                    self.state.user.is_at_rest(),
                    "a refusal comes before the first change"
                );
                return refused(refusal);
            }
        };
        let effects = txn.finish();
        self.state.head = effects.head;
        if let Some(clients) = effects.clients {
            self.state.clients = clients;
        }
        Applied {
            outcome: Ok(reply),
            change_set: self.state.meta.commit(effects.writes),
            replayed: false,
        }
    }
}

/// Whether whoever proposed it may, then one line for each command: who decides it.
fn decide(txn: &mut Txn<'_>, by: Option<&KvCaller>, command: &Command) -> Outcome {
    if !matches!(command, Command::By(..)) {
        kv::admit(txn, by, command)?;
    }
    match command {
        Command::CreateDatabase(command) => database::create(txn, command),
        Command::DropDatabase(command) => database::drop_database(txn, command),
        Command::AlterDatabase(command) => database::alter(txn, command),
        Command::CreateCollection(command) => collection::create(txn, command),
        Command::DropCollection(command) => collection::drop_collection(txn, command),
        Command::AlterCollection(command) => collection::alter(txn, command),
        Command::RenameCollection(command) => collection::rename(txn, command),
        Command::CreatePartition(command) => partition::create(txn, command),
        Command::DropPartition(command) => partition::drop_partition(txn, command),
        Command::CreateAlias(command) => alias::create(txn, command),
        Command::DropAlias(command) => alias::drop_alias(txn, command),
        Command::AlterAlias(command) => alias::alter(txn, command),
        Command::AllocateIds(command) => id::allocate(txn, command),
        Command::OpenSession(command) => session::open(txn, command),
        Command::CloseSession(command) => session::close(txn, command),
        Command::ExpireLeases { ids } => lease::expire(txn, ids),
        Command::RaiseFeatureLevel { level } => feature::raise(txn, *level),
        Command::RegisterClient { client } => {
            let log_time = txn.log_time;
            txn.clients().register(*client, log_time)
        }
        Command::EvictClients { clients } => txn.clients().evict(clients),
        Command::Kv(command) => kv::run(txn, command),
        Command::CompactKv { revision } => kv::compact(txn, *revision),
        Command::GrantKvLease { lease, ttl_s } => kv::grant(txn, *lease, *ttl_s),
        Command::RevokeKvLease { lease } => kv::revoke(txn, *lease),
        Command::ExpireKvLeases { grants } => kv::expire(txn, grants),
        Command::KvAuth(change) => kv::change_auth(txn, change),
        Command::By(by, command) => decide(txn, Some(by), command),
    }
}

fn refused(refusal: Refusal) -> Applied {
    Applied {
        outcome: Err(refusal),
        change_set: None,
        replayed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Log, create};

    #[test]
    fn genesis_has_the_default_database_and_revision_one() {
        let image = Machine::genesis().image();
        assert_eq!(image.position(), None);
        assert_eq!(
            (image.revision().0, image.feature_level(), image.log_time().0),
            (1, 1, 0)
        );
        assert_eq!(image.describe_database("").map(|database| database.id.0), Ok(1));
        let first: Vec<_> = image.history(image.history_floor()).expect("kept").collect();
        assert_eq!(first.len(), 1);
        assert!(image.audit().is_ok());
    }

    #[test]
    fn entries_come_in_order_and_a_fault_changes_nothing() {
        let mut machine = Machine::genesis();
        let entry = create("books").encode(7, None);
        assert!(matches!(machine.apply(Index(1), &entry), Err(Fault::Gap { .. })));
        assert!(matches!(machine.skip(Index(1)), Err(Fault::Gap { .. })));
        assert!(machine.skip(Index(0)).is_ok());
        assert!(machine.apply(Index(1), &entry).is_ok());
        let before = machine.image();
        let raise = Command::RaiseFeatureLevel {
            level: FEATURE_LEVEL_MAX + 1,
        }
        .encode(9, None);
        let faults = [
            machine.apply(Index(1), &entry),
            machine.apply(Index(3), &entry),
            machine.apply(Index(2), b"\x01garbage"),
            machine.apply(Index(2), &raise),
        ];
        assert!(faults.iter().all(Result::is_err));
        let after = machine.image();
        assert_eq!(
            (after.position(), after.digest()),
            (Some(Index(1)), before.digest())
        );
    }

    #[test]
    fn log_time_is_the_running_maximum_of_the_stamps() {
        let mut log = Log::new();
        for (stamp, want) in [
            (5, 5),
            (3, 5),
            (0, 5),
            (9, 9),
            (u64::MAX, u64::MAX),
            (1, u64::MAX),
        ] {
            log.apply_at(stamp, None, &create("books"));
            assert_eq!(log.machine.image().log_time(), LogTime(want));
        }
    }

    #[test]
    fn an_image_does_not_change_under_its_reader() {
        let mut log = Log::new();
        let before = log.machine.image();
        let digest = before.digest();
        assert!(log.apply(&create("books")).is_ok());
        assert!(!before.has_collection("", "books"));
        assert_eq!(before.digest(), digest);
        assert!(log.machine.image().has_collection("", "books"));
    }

    #[test]
    fn images_may_be_read_by_any_thread() {
        fn is_shared<T: Send + Sync + Clone + 'static>() {}
        is_shared::<Image>();
        is_shared::<ChangeSet>();
    }
}
