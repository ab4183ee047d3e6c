//! The flags of `quorate dev`.

use std::path::PathBuf;

use quorate::Profile;

/// Workers at most: each keeps a stream open.
const WORKERS_MAX: u16 = 1_000;

/// Starts a whole cluster on this machine, with workers and load, to look at and to break
///
/// The replicas are processes of their own on free loopback ports. Everything ends with this command. With a terminal it
/// shows one live screen; without one, or with --plain, it prints what happens as lines and takes commands as lines on
/// stdin: kill a, kill leader, pause b, resume b, stop c, start c, transfer [b], status, help, quit.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// How many replicas: 1, 3 or 5
    #[arg(long, value_name = "N", default_value = "3", value_parser = replicas)]
    pub(super) replicas: usize,
    /// Keep data and logs here, and go on from what is there; without it, a temporary directory is used and removed
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Timeouts of the replicas: lan, zone or region
    #[arg(long, default_value_t = Profile::default())]
    pub(super) profile: Profile,
    /// How many simulated workers hold sessions, 0 to 1000
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=i64::from(WORKERS_MAX)))]
    pub(super) workers: u16,
    /// Print lines instead of showing a screen, also on a terminal
    #[arg(long)]
    pub(super) plain: bool,
    /// Keep the temporary directory at the end
    #[arg(long, conflicts_with = "dir")]
    pub(super) keep: bool,
}

fn replicas(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("a group has 1, 3 or 5 replicas".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("dev").chain(line.split_whitespace());
        match Program::try_parse_from(words) {
            Ok(program) => Ok(program.arguments),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn defaults_are_three_replicas_in_a_temporary_directory() {
        let arguments = parse("").expect("no flag is needed");
        assert_eq!((arguments.replicas, arguments.workers), (3, 8));
        assert_eq!(
            (arguments.dir, arguments.plain, arguments.keep),
            (None, false, false)
        );
        assert_eq!(arguments.profile, Profile::Zone);
    }

    #[test]
    fn wrong_flags_say_what_is_right() {
        let cases = [
            ("--replicas 2", "a group has 1, 3 or 5 replicas"),
            ("--replicas x", "a group has 1, 3 or 5 replicas"),
            ("--profile moon", "choose lan, zone or region"),
            ("--workers 1001", "1001 is not in 0..=1000"),
            ("--workers -1", "unexpected argument"),
            ("--keep --dir x", "cannot be used with"),
            ("--nonsense", "unexpected argument"),
            ("stray", "unexpected argument"),
        ];
        for (line, want) in cases {
            let error = parse(line).expect_err(line);
            assert!(error.contains(want), "{line}: {error}");
        }
    }
}
