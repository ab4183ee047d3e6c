//! Opening a data directory: everything is read and checked first, and only then is anything changed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use quorate_host::entropy;
use quorate_types::{Incarnation, Position};

use super::DiskOptions;
use super::directory::{Directory, Lock, replace_file};
use super::facts::{DurableSled, FactsError, StoredFacts, encode_facts, encode_snapshot, set_aside};
use super::files::{Owned, Shared};
use super::inspect::{Inspected, inspect};
use super::log::DiskLog;
use super::snapshots::{SnapshotFiles, Survey, position_of, survey};
use crate::error::{OpenError, SnapshotError};
use crate::facts::{Facts, MembershipFact};
use crate::identity::{DIRECTORY_FORMAT, IdentityFile};
use crate::snapshot::SnapshotId;
use crate::store::LogState;
use crate::view::LogView;

/// A directory that is open and durable as it stands.
pub(super) struct Booted {
    pub(super) lock: Lock,
    pub(super) view: LogView,
    pub(super) log: DiskLog,
    pub(super) owned: Owned,
}

/// sled, or why there is none.
enum Found {
    Opened(DurableSled, Box<StoredFacts>),
    Damaged(String),
}

/// What a directory holds, checked, before anything is changed.
pub(super) struct Examined {
    /// The identity and the boots; `None` in a fresh directory.
    pub(super) known: Option<IdentityFile>,
    pub(super) log: Inspected,
    pub(super) snapshots: Survey,
    pub(super) memberships: Vec<MembershipFact>,
    /// sled, or why it does not open.
    sled: Result<DurableSled, String>,
}

/// Reads and checks everything.
pub(super) fn examine(directory: &Directory, options: DiskOptions) -> Result<Examined, OpenError> {
    let file = directory.read_identity()?;
    let (sled, mut stored) = match open_facts(directory)? {
        Found::Opened(sled, stored) => (Ok(sled), *stored),
        Found::Damaged(why) => (Err(why), StoredFacts::default()),
    };
    let known = reconcile(directory, file.as_ref(), stored.identity.take())?;
    let was_opened = known.as_ref().is_some_and(|known| known.boots > 0);
    let tail_bytes = options.tail_bytes.max(options.chunk_bytes);
    let log = inspect(&directory.log, was_opened, tail_bytes)?;
    let snapshots = survey(&directory.snapshots)
        .map_err(|error| OpenError::io("reading the snapshots in", &directory.snapshots, error))?;
    if known.is_none() && (log.view.state() != LogState::default() || !snapshots.is_empty()) {
        return Err(OpenError::IdentityMissing {
            path: directory.root.clone(),
        });
    }
    check_snapshots(directory, log.view.state(), &snapshots, stored.snapshot)?;
    Ok(Examined {
        known,
        log,
        snapshots,
        memberships: stored.memberships,
        sled,
    })
}

/// Opens the directory and counts the boot.
pub(super) fn boot(root: &Path, options: DiskOptions) -> Result<Booted, OpenError> {
    let (directory, lock) = Directory::prepare(root)?;
    let Examined {
        known,
        log: Inspected {
            view,
            bytes,
            unfinished,
        },
        snapshots,
        memberships,
        sled,
    } = examine(&directory, options)?;

    // All is sound: from here on things change.
    if let Some(unfinished) = unfinished {
        tracing::info!(
            path = %unfinished.path.display(),
            offset = unfinished.offset,
            bytes = unfinished.bytes,
            "cutting off a write that a crash left unfinished"
        );
        let cut = unfinished.cut_off();
        cut.map_err(|error| OpenError::io("cutting off", &unfinished.path, error))?;
    }
    let log = DiskLog::open(&directory.log, options.chunk_bytes)?;
    tracing::debug!(bytes, "the log is open");
    for (path, error) in &snapshots.damaged {
        tracing::warn!(path = %path.display(), %error, "setting a damaged snapshot aside; the log reaches back");
    }
    let changing = |error| OpenError::io("tidying up", &directory.snapshots, error);
    let files = SnapshotFiles::take(directory.snapshots.clone(), &snapshots).map_err(changing)?;
    let sled = match sled {
        Ok(sled) => sled,
        Err(why) => rebuild_facts(&directory, &why)?,
    };

    // A fresh directory is named before anybody hears of it: what it answered to a peer must still hold after a crash.
    let fresh = || IdentityFile {
        incarnation: Incarnation(entropy::random_u128()),
        ..IdentityFile::default()
    };
    let IdentityFile {
        incarnation,
        identity,
        boots,
    } = known.unwrap_or_else(fresh);
    let facts = Facts {
        incarnation,
        identity,
        boots: boots + 1,
        memberships,
    };
    let newest = snapshots.newest.map(|(snapshot, _)| snapshot);
    save_facts(&directory, &sled, &facts)?;
    if let Some(newest) = &newest {
        let saved = sled.write(encode_snapshot(newest.id));
        saved.map_err(|error| OpenError::io("writing facts to", &directory.facts, error))?;
    }
    let shared = Arc::new(Shared::default());
    shared.set_facts(facts.clone());
    shared.set_newest(newest);
    let owned = Owned {
        sled,
        snapshots: files,
        facts,
        identity_path: directory.identity,
        shared,
    };
    Ok(Booted {
        lock,
        view,
        log,
        owned,
    })
}

fn open_facts(directory: &Directory) -> Result<Found, OpenError> {
    let opened = DurableSled::open(&directory.facts).and_then(|sled| {
        let stored = sled.load()?;
        Ok(Found::Opened(sled, Box::new(stored)))
    });
    match opened {
        Ok(found) => Ok(found),
        Err(FactsError::Newer(found)) => Err(OpenError::NewerFormat {
            path: directory.facts.clone(),
            found,
            supported: DIRECTORY_FORMAT,
        }),
        Err(FactsError::Io(error)) => Err(OpenError::io("opening", &directory.facts, error)),
        Err(FactsError::Damaged(why)) => Ok(Found::Damaged(why)),
    }
}

/// The identity and the boots from the file and from sled, which must agree where both have them.
fn reconcile(
    directory: &Directory,
    file: Option<&IdentityFile>,
    stored: Option<IdentityFile>,
) -> Result<Option<IdentityFile>, OpenError> {
    let Some(file) = file else {
        if stored.is_some() {
            let path = directory.identity.display();
            tracing::warn!(%path, "the file is missing and is written again from facts.sled");
        }
        return Ok(stored);
    };
    if stored.is_none() && file.boots > 0 {
        let path = directory.facts.display();
        tracing::warn!(%path, "it is empty; it is filled again, without the history of memberships");
    }
    let stored = stored.unwrap_or_default();
    let identity = match (&file.identity, stored.identity) {
        (Some(file), Some(facts)) if *file != facts => {
            return Err(OpenError::IdentitiesDisagree {
                path: directory.root.clone(),
                file: Box::new(file.clone()),
                facts: Box::new(facts),
            });
        }
        (Some(file), _) => Some(file.clone()),
        (None, facts) => facts,
    };
    let boots = file.boots.max(stored.boots);
    Ok(Some(IdentityFile {
        incarnation: file.incarnation,
        identity,
        boots,
    }))
}

/// What a snapshot covered must still be there without it: the log reaches back to an intact snapshot, or to the
/// beginning, and forward to where the damaged or missing snapshot ended.
fn check_snapshots(
    directory: &Directory,
    log: LogState,
    survey: &Survey,
    manifest: Option<SnapshotId>,
) -> Result<(), OpenError> {
    let newest = survey.newest.as_ref().and_then(|(newest, _)| newest.id.last);
    let lost = |path: &Path, what: String, covered: Option<Position>| {
        // By index: an uncommitted end of the log may be of a later term and yet be shorter.
        let end = log.last.map(|last| last.index);
        let back = log.purged.filter(|purged| newest < Some(*purged));
        let forth = covered.filter(|covered| newest < Some(*covered) && end < Some(covered.index));
        match back.max(forth) {
            None => Ok(()),
            Some(needs) => {
                let path = path.to_owned();
                Err(OpenError::SnapshotLost { path, what, needs })
            }
        }
    };
    for (path, error) in &survey.damaged {
        if let SnapshotError::NewerFormat { found, supported } = error {
            return Err(OpenError::NewerFormat {
                path: path.clone(),
                found: (*found).into(),
                supported: (*supported).into(),
            });
        }
        lost(path, error.to_string(), position_of(path))?;
    }
    let (what, covered) = match manifest {
        Some(id) if newest < id.last => (format!("the snapshot {id} is gone"), id.last),
        _ => ("there is no snapshot".to_owned(), None),
    };
    lost(&directory.snapshots, what, covered)
}

fn rebuild_facts(directory: &Directory, why: &str) -> Result<DurableSled, OpenError> {
    let refused = |error| OpenError::io("rebuilding", &directory.facts, error);
    let aside = set_aside(&directory.facts).map_err(refused)?;
    tracing::warn!(
        path = %aside.display(),
        why,
        "facts.sled does not open: it is set aside and written again, without the history of memberships"
    );
    DurableSled::open(&directory.facts).map_err(|error| match error {
        FactsError::Io(error) => refused(error),
        other => refused(io::Error::other(format!("{other:?}"))),
    })
}

fn save_facts(directory: &Directory, sled: &DurableSled, facts: &Facts) -> Result<(), OpenError> {
    write_identity(&directory.identity, sled, facts)
        .map_err(|error| OpenError::io("writing", &directory.identity, error))
}

/// Writes both copies of the identity and the boots.
pub(super) fn write_identity(path: &Path, sled: &DurableSled, facts: &Facts) -> io::Result<()> {
    let file = IdentityFile {
        incarnation: facts.incarnation,
        identity: facts.identity.clone(),
        boots: facts.boots,
    };
    replace_file(path, file.encode().as_bytes())?;
    sled.write(encode_facts(facts))
}
