//! Log lines on standard error.

use tracing_subscriber::EnvFilter;

use super::settings::Settings;
use crate::exit::Failure;

/// What libraries below us say is quieted: openraft warns dozens of times a second while a replica is down and complains
/// of its own channels at an orderly stop, and our own lines tell both once; the log and sled tell of their inner life. A directive of the user's goes before these.
const QUIETED: &str = "openraft=off,raft_log=warn,chunked_wal=warn,sled=warn,h2=warn,hyper=warn";

/// Starts logging as the settings say.
pub(crate) fn start(settings: &Settings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter(&settings.log)).map_err(|_| {
        let shown: String = settings.log.chars().take(80).collect();
        Failure::Usage(format!(
            "log: {shown:?} is no filter; give error, warn, info, debug or trace, or a list such as \
             info,quorate_replica=debug"
        ))
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if settings.log_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init()
    };
    started.map_err(|error| Failure::Failed(format!("logging cannot be started: {error}")))
}

/// The user's filter with the libraries quieted, unless it names them.
fn filter(wanted: &str) -> String {
    let quieted = QUIETED.split(',').filter(|directive| {
        let library = directive.split('=').next().unwrap_or_default();
        !wanted
            .split(',')
            .any(|directive| directive.trim_start().starts_with(library))
    });
    quieted.chain([wanted]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quieted_unless_they_are_named() {
        assert_eq!(filter("info"), format!("{QUIETED},info"));
        let named = filter("info,openraft=debug");
        assert!(
            named.ends_with("info,openraft=debug") && !named.contains("openraft=off"),
            "{named}"
        );
        assert!(EnvFilter::try_new(filter("info,quorate_replica=debug")).is_ok());
        assert!(EnvFilter::try_new(filter("==")).is_err());
    }
}
