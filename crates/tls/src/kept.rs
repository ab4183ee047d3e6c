//! What was made of the files, kept up to date while the program runs.
//!
//! Promises: a change is in use within [`LOOK_EVERY`], for new connections; what cannot be used changes nothing and is
//! told once. The content decides, not the time of a change: files that are links into a directory that is swapped
//! (a mounted secret) are read like any others. Left out on purpose: who runs [`Kept::keep_fresh`]; its owner ends it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::UnixTime;
use tokio::time::sleep;

use crate::certificate::Facts;
use crate::error::{File, TlsError};
use crate::pem::Content;

/// Between two looks at the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A certificate that lives no longer than this is warned of, once a day.
const WARN_DAYS: i64 = 30;
const DAY_S: i64 = 86_400;

/// Makes something of the files.
type Build<M> = Box<dyn Fn(&[Content], UnixTime) -> Result<M, TlsError> + Send + Sync>;

/// Something made of files.
pub(crate) trait Material: Send + Sync + 'static {
    /// The certificate that is shown to others.
    fn certificate(&self) -> Option<&Facts>;
}

/// See the module.
pub(crate) struct Kept<M> {
    files: Vec<(File, PathBuf)>,
    build: Build<M>,
    current: ArcSwap<M>,
    seen: Mutex<Seen>,
}

struct Seen {
    in_use: Vec<Content>,
    /// Why what is in the files now cannot be used, and whether that was told.
    failing: Option<(String, bool)>,
    days_told: Option<i64>,
}

/// What is to be told after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// This is in use from now on.
    Using(Option<Facts>),
    /// The new files cannot be used; the old ones go on.
    Broken(String),
    /// The certificate in use ends in so many days.
    Ends(Facts, i64),
}

impl<M: Material> Kept<M> {
    /// Reads the files for the first time.
    pub(crate) fn load(
        files: Vec<(File, PathBuf)>,
        build: Build<M>,
        now: UnixTime,
    ) -> Result<Self, TlsError> {
        let in_use = read(&files)?;
        let current = ArcSwap::from_pointee(build(&in_use, now)?);
        let seen = Mutex::new(Seen {
            in_use,
            failing: None,
            days_told: None,
        });
        Ok(Self {
            files,
            build,
            current,
            seen,
        })
    }

    /// What new connections are to use.
    pub(crate) fn current(&self) -> Arc<M> {
        self.current.load_full()
    }

    /// Tells what is in use, then looks at the files until it is dropped.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        tell(Word::Using(self.current().certificate().cloned()));
        loop {
            let this = Arc::clone(&self);
            // A file system may hang; the threads that serve must not.
            let looked = tokio::task::spawn_blocking(move || this.look(UnixTime::now())).await;
            looked.unwrap_or_default().into_iter().for_each(tell);
            sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at the files, and takes what is new in them.
    pub(crate) fn look(&self, now: UnixTime) -> Vec<Word> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = Vec::new();
        let found = read(&self.files).and_then(|found| {
            let is_new = found != seen.in_use;
            let built = is_new.then(|| (self.build)(&found, now)).transpose()?;
            Ok(built.map(|material| (material, found)))
        });
        match found {
            Ok(None) => seen.failing = None,
            Ok(Some((material, found))) => {
                words.push(Word::Using(material.certificate().cloned()));
                self.current.store(Arc::new(material));
                *seen = Seen {
                    in_use: found,
                    failing: None,
                    days_told: None,
                };
            }
            Err(error) => {
                let line = error.line();
                // Only what fails twice in the same way is told: files are replaced one after the other.
                let again = seen.failing.take().filter(|(before, _)| *before == line);
                if matches!(again, Some((_, false))) {
                    words.push(Word::Broken(line.clone()));
                }
                seen.failing = Some((line, again.is_some()));
            }
        }
        words.extend(self.end_nears(&mut seen, now));
        words
    }

    fn end_nears(&self, seen: &mut Seen, now: UnixTime) -> Option<Word> {
        let current = self.current();
        let facts = current.certificate()?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let days = (facts.not_after.unix_s - now).div_euclid(DAY_S);
        let is_news = days <= WARN_DAYS && seen.days_told.replace(days) != Some(days);
        is_news.then(|| Word::Ends(facts.clone(), days))
    }
}

fn read(files: &[(File, PathBuf)]) -> Result<Vec<Content>, TlsError> {
    files
        .iter()
        .map(|(file, path)| Content::read(*file, path))
        .collect()
}

fn tell(word: Word) {
    match word {
        Word::Using(Some(Facts {
            subject,
            serial,
            not_after,
            ..
        })) => tracing::info!(%subject, %serial, %not_after, "TLS: this certificate is in use"),
        Word::Using(None) => tracing::debug!("TLS: a CA is in use, and no certificate of our own"),
        Word::Broken(why) => {
            tracing::warn!(
                why,
                "TLS: the files have changed and cannot be used; what was read before stays in use"
            );
        }
        Word::Ends(facts, days) if days < 0 => tracing::error!(
            subject = %facts.subject, serial = %facts.serial, not_after = %facts.not_after,
            "TLS: the certificate has expired; new connections fail until its files hold a new one"
        ),
        Word::Ends(facts, days) => tracing::warn!(
            subject = %facts.subject, serial = %facts.serial, not_after = %facts.not_after, days,
            "TLS: the certificate expires soon; put a new one into its files, which are read again by themselves"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use quorate_testkit::certificates::{Authority, Paths, Wanted};

    use super::*;
    use crate::material;

    struct Shown(Facts);

    impl Material for Shown {
        fn certificate(&self) -> Option<&Facts> {
            Some(&self.0)
        }
    }

    fn now_s() -> i64 {
        i64::try_from(UnixTime::now().as_secs()).expect("this era")
    }

    fn at(unix_s: i64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(unix_s.unsigned_abs()))
    }

    fn keep(paths: &Paths) -> Kept<Shown> {
        let files = vec![
            (File::Certificate, paths.cert.clone()),
            (File::Key, paths.key.clone()),
        ];
        let build: Build<Shown> =
            Box::new(|contents, now| Ok(Shown(material::own(&contents[0], &contents[1], now)?.facts)));
        Kept::load(files, build, at(now_s())).expect("good files")
    }

    fn named(name: &'static str) -> Wanted<'static> {
        Wanted {
            name,
            ..Wanted::LOOPBACK
        }
    }

    #[test]
    fn what_is_new_is_taken_and_what_is_broken_is_told_once() {
        let authority = Authority::new("house");
        let directory = tempfile::tempdir().expect("a directory");
        let paths = authority.write(directory.path(), &named("first"));
        let kept = keep(&paths);
        let look = || kept.look(at(now_s()));
        let in_use = || kept.current().0.subject.clone();
        assert_eq!(look(), [], "nothing is new");

        let _ = authority.write(directory.path(), &named("second"));
        assert!(matches!(&look()[..], [Word::Using(Some(facts))] if facts.subject == "second"));
        assert_eq!(in_use(), "second");
        assert_eq!(look(), []);

        // The files are replaced one after the other, and a look comes between.
        let third = authority.issue(&named("third"));
        fs::write(&paths.cert, &third.cert).expect("written");
        assert_eq!((look(), in_use()), (vec![], "second".to_owned()));
        fs::write(&paths.key, &third.key).expect("written");
        assert!(matches!(&look()[..], [Word::Using(Some(facts))] if facts.subject == "third"));

        fs::write(&paths.key, "nothing").expect("written");
        assert_eq!(look(), [], "it may be half-written");
        assert!(matches!(&look()[..], [Word::Broken(why)] if why.contains("holds no private key")));
        assert_eq!(look(), [], "once is enough");
        fs::remove_file(&paths.cert).expect("removed");
        assert_eq!(look(), []);
        assert!(matches!(&look()[..], [Word::Broken(why)] if why.contains("cannot be read")));
        assert_eq!((look(), in_use()), (vec![], "third".to_owned()));

        // Back to what is in use: all is well, and nothing is to be told.
        fs::write(&paths.cert, &third.cert).expect("written");
        fs::write(&paths.key, &third.key).expect("written");
        assert_eq!(look(), []);
        fs::write(&paths.key, "nothing").expect("written");
        assert_eq!(look(), []);
        assert_eq!(look().len(), 1, "broken again, told again");
    }

    #[test]
    fn the_end_is_told_once_a_day() {
        let authority = Authority::new("house");
        let directory = tempfile::tempdir().expect("a directory");
        let kept = keep(&authority.write(directory.path(), &named("a")));
        let end = kept.current().0.not_after.unix_s;
        let days = |before_end_s: i64| match &kept.look(at(end - before_end_s))[..] {
            [] => None,
            [Word::Ends(facts, days)] if facts.subject == "a" => Some(*days),
            other => panic!("{other:?}"),
        };
        let cases = [
            (31 * DAY_S, None),
            (31 * DAY_S - 1, Some(30)),
            (30 * DAY_S + 1, None),
            (30 * DAY_S - 1, Some(29)),
            (DAY_S, Some(1)),
            (DAY_S - 1, Some(0)),
            (1, None),
            (-1, Some(-1)),
            (-2, None),
        ];
        for (before_end_s, want) in cases {
            assert_eq!(days(before_end_s), want, "{before_end_s} s before its end");
        }
    }

    #[test]
    fn an_expired_new_certificate_changes_nothing() {
        let authority = Authority::new("house");
        let directory = tempfile::tempdir().expect("a directory");
        let kept = keep(&authority.write(directory.path(), &named("good")));
        let _ = authority.write(
            directory.path(),
            &Wanted {
                until_s: -1,
                ..named("late")
            },
        );
        assert_eq!(kept.look(at(now_s())), []);
        assert!(
            matches!(&kept.look(at(now_s()))[..], [Word::Broken(why)] if why.contains("(late) expired at"))
        );
        assert_eq!(kept.current().0.subject, "good");
    }
}
