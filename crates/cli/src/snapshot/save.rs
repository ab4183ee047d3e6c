//! `quorate snapshot save`: from the leader into a file that is either whole and durable or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::backup::{BackupContents, inspect};
use quorate_client::{Client, Saving, v1};
use tokio::time::Instant;

use super::view::{View, bytes};
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::note;

/// A backup that takes longer says how far it is, this often.
const TELL_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(path: &Path, force: bool, connection: &Connection) -> Result<(), Failure> {
    check_free(path, force)?;
    let client = connection.client()?;
    let saved = save(&client, path, force).await;
    client.close().await;
    let view = View::of(path, &saved?);
    connection.output().result(&view, || view.show())
}

async fn save(client: &Client, path: &Path, force: bool) -> Result<BackupContents, Failure> {
    // The cluster first: without one, no file is touched.
    let mut saving = client.snapshots().save().await?;
    let temporary = Temporary::at(path)?;
    let written = receive(&mut saving, &temporary).await?;
    let contents = inspect(&temporary.path).map_err(|error| super::failure(&error))?;
    if !is_announced(&contents, saving.summary()) || contents.bytes != written {
        return Err(Failure::Failed(
            "the backup that came is not the one that was announced; run it again".to_owned(),
        ));
    }
    check_free(path, force)?;
    temporary.install(path)?;
    Ok(contents)
}

/// Writes what comes, durably; gives its size.
async fn receive(saving: &mut Saving, temporary: &Temporary) -> Result<u64, Failure> {
    let failed = |error| cannot("write", &temporary.path, &error);
    let mut file = File::create(&temporary.path).map_err(failed)?;
    let mut written = 0;
    let mut told = Instant::now();
    while let Some(chunk) = saving.chunk().await? {
        file.write_all(&chunk).map_err(failed)?;
        written += chunk.len() as u64;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            note(&format!(
                "{} so far, of a state with {} in its rows",
                bytes(written),
                bytes(saving.summary().row_bytes)
            ));
        }
    }
    file.sync_all().map_err(failed)?;
    Ok(written)
}

fn is_announced(contents: &BackupContents, summary: &v1::SnapshotSummary) -> bool {
    contents.cluster.to_bytes() == *summary.cluster_id
        && contents.last.index.0 == summary.index
        && contents.revision.0 == summary.revision
        && contents.digest.to_be_bytes() == *summary.state_digest
}

/// A file beside the one that is wanted; gone when this is, unless it was installed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn at(path: &Path) -> Result<Self, Failure> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let path = path.with_file_name(name);
        if path.is_dir() {
            let is_directory = io::ErrorKind::IsADirectory.into();
            return Err(cannot("write", &path, &is_directory));
        }
        Ok(Self { path })
    }

    fn install(&self, path: &Path) -> Result<(), Failure> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::rename(&self.path, path)
            .and_then(|()| File::open(directory)?.sync_all())
            .map_err(|error| cannot("put in place", path, &error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is none; otherwise it is a half backup, which the next try overwrites.
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses what must not or cannot be overwritten.
fn check_free(path: &Path, force: bool) -> Result<(), Failure> {
    let shown = path.display();
    if path.file_name().is_none() || path.is_dir() {
        return Err(Failure::Failed(format!(
            "{shown} is no name for a file; name one in a directory that exists"
        )));
    }
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::Failed(format!(
            "{shown} exists; name another file, or replace it with --force"
        )));
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot {what} {}: {error}", path.display()))
}
