//! `quorate serve`: one replica in this process, a thin shell over the library.
//!
//! Promises: settings come from flags, the environment and a file, in this order of precedence, and are all checked
//! before anything is opened; SIGTERM and SIGINT stop in order, a second one at once; a fault ends the process at once,
//! because peers take over when it is gone. Left out on purpose: becoming a daemon, files of logs, rotation.

mod arguments;
mod compaction;
mod file;
mod leases;
mod log;
mod process;
mod replicas;
mod run;
mod settings;
mod value;

pub(crate) use arguments::Arguments;
pub(crate) use file::COMMENTED;
pub(crate) use replicas::parse_list;
pub(crate) use run::failure;
pub(crate) use settings::Settings;

use crate::exit::Failure;

/// Runs the replica until it is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::read(arguments)?;
    // Before the first log line, so that a wrong configuration is told in one line.
    settings.builder().check().map_err(|error| run::failure(&error))?;
    log::start(&settings)?;
    if let Some(parent) = arguments.stop_with_parent {
        process::stop_with_parent(parent)?;
    }
    process::raise_open_files_limit();
    process::end_on_panic();
    run::run(settings)
}
