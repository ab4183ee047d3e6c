//! `quorate config`: the commented configuration file, or a check of one.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::exit::{Failure, chain};
use crate::serve::{self, COMMENTED, Settings};

/// Flags of `config`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate config > quorate.toml && quorate config --check quorate.toml")]
pub(crate) struct Arguments {
    /// Check this file as `serve --config` would, and say what is wrong with it
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Prints or checks.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let text = match &arguments.check {
        None => COMMENTED.to_owned(),
        Some(path) => {
            let serve = serve::Arguments {
                config: Some(path.clone()),
                ..serve::Arguments::default()
            };
            let settings = Settings::read(&serve)?;
            settings
                .builder()
                .check()
                .map_err(|error| Failure::Usage(chain(&error)))?;
            format!(
                "{} is good: replica {} of {}\n",
                path.display(),
                settings.name,
                settings.replicas.len()
            )
        }
    };
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::Failed(format!("standard output cannot be written: {error}")))
}
