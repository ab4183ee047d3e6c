//! What the process asks of the system for itself.

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

use crate::exit::Failure;

/// Open files that ten thousand watchers and the group need.
const OPEN_FILES_WANTED: u64 = 65_536;

/// Ends this process when `parent` ends, however it ends.
pub(crate) fn stop_with_parent(parent: u32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| {
        Failure::Failed(format!(
            "the end of the starting process cannot be followed: {errno}"
        ))
    })?;
    // It may have ended before the line above; then this process has another parent now.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now == Some(parent) {
        Ok(())
    } else {
        Err(Failure::Failed(format!(
            "the starting process {parent} has ended"
        )))
    }
}

/// Raises the limit of open files as far as this user may; a lower one is told, not fatal.
pub(crate) fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: limit.maximum,
            },
        );
        if let Err(errno) = raised {
            tracing::warn!(%errno, "the limit of open files cannot be raised");
        }
    }
    if wanted < OPEN_FILES_WANTED {
        tracing::warn!(
            limit = wanted,
            "few open files are allowed; clients beyond it will be refused"
        );
    }
}

/// Ends the process at a panic of any task: a panic is a broken invariant, and peers take over when the process is gone,
/// not when half of it hangs.
pub(crate) fn end_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        tracing::error!(%panic, "a broken invariant ends this replica (a bug, please report it); start it again");
        std::process::exit(4);
    }));
}
