//! The life of the command: place, processes, catalog, load; then the user's wishes until the end; then all of it away.
//!
//! Promises: a signal is heard at any moment; whatever way it ends, the processes are gone, also paused ones, then the
//! temporary directory, then the terminal is as before.

use std::time::Duration;

use quorate_client::Client;
use quorate_local::{Cluster, LocalError, Plan};
use quorate_types::NodeId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::arguments::Arguments;
use super::event::{Deed, Event, Stage, Tone};
use super::face::{self, Face};
use super::hands::Hands;
use super::input::Typed;
use super::moment::Moment;
use super::place::{Place, PlaceError};
use super::poll::{self, Events, tell};
use super::signals::Signals;
use super::state::{self, Setting, State};
use super::verbs::{HELP, Target, Verb};
use super::workload::{catalog, reads, workers, writes};
use crate::exit::{Failure, chain};

/// The cluster comes up within this, or something is wrong.
const START_WITHIN: Duration = Duration::from_secs(90);
/// Leadership is handed over within this.
const TRANSFER_WITHIN: Duration = Duration::from_secs(10);
/// Replicas whose data is kept end in order within this.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Workers close their sessions within this.
const CLOSE_WITHIN: Duration = Duration::from_millis(1_500);
/// Between two looks at processes and clock, and two screens.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Events that wait for the model; whoever tells more waits.
const EVENTS: usize = 1_024;
/// Events that the model takes at once.
const BATCH: usize = 256;

/// Everything from the first to the last moment.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Before anything is there to be left behind.
    let mut signals = Signals::new()?;
    let mut place = match &arguments.dir {
        Some(path) => Place::given(path, arguments.replicas).map_err(place_failure)?,
        None => Place::temporary().map_err(place_failure)?,
    };
    if arguments.keep {
        place.keep();
    }
    let mut face = Face::new(arguments.plain)
        .map_err(|error| Failure::Failed(format!("the terminal cannot be used: {error}")))?;
    let mut state = State::new(Setting {
        began: Moment::now(),
        profile: arguments.profile.to_string(),
        directory: place.path().display().to_string(),
        workers: usize::from(arguments.workers),
    });
    let lived = live(arguments, &place, &mut face, &mut state, &mut signals).await;
    let kept = (!place.is_temporary()).then(|| place.path().display().to_string());
    let left = place.leave().map_err(place_failure);
    let words: Vec<String> = match &kept {
        Some(path) => vec![format!(
            "data and logs are kept; go on with: quorate dev --dir {path}"
        )],
        None => Vec::new(),
    };
    face.leave(if lived.is_ok() { &words } else { &[] });
    lived.and(left)
}

/// From the start of the processes to their end.
async fn live(
    arguments: &Arguments,
    place: &Place,
    face: &mut Face,
    state: &mut State,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let replicas = arguments.replicas;
    let what = if replicas == 1 {
        "1 replica".to_owned()
    } else {
        format!("{replicas} replicas")
    };
    stage(
        face,
        state,
        Stage::Starting(format!("starting {what} in {}", place.path().display())),
    );
    let program = std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("the program's own file is not known: {error}")))?;
    let plan = Plan::new(program, place.path())
        .replicas(replicas)
        .profile(&arguments.profile.to_string());
    let cluster = Cluster::start(plan)
        .await
        .map_err(|error| local_failure(&error))?;
    let ended = Show::new(&cluster, usize::from(arguments.workers), face, state)
        .map_err(|error| local_failure(&error));
    let ended = match ended {
        Ok(show) => show.run(signals, !place.is_temporary()).await,
        Err(failure) => Err(failure),
    };
    stop(cluster, place.is_temporary(), signals).await;
    ended
}

/// Ends all processes.
async fn stop(cluster: Cluster, at_once: bool, signals: &mut Signals) {
    if at_once {
        // Nothing of theirs is needed any more.
        kill(&cluster);
        cluster.stop(STOP_WITHIN).await;
        return;
    }
    let ordered = cluster.stop(STOP_WITHIN);
    tokio::select! {
        () = ordered => {}
        // A second signal: dropping the cluster kills what still runs.
        () = signals.next() => {}
    }
}

fn kill(cluster: &Cluster) {
    for process in cluster.processes() {
        // One that has ended needs nothing.
        let _ = process.kill();
    }
}

/// A cluster that runs, and the user at it.
struct Show<'a> {
    cluster: &'a Cluster,
    client: Client,
    load: Client,
    face: &'a mut Face,
    state: &'a mut State,
    hands: Hands,
    events: Events,
    arriving: mpsc::Receiver<(Moment, Event)>,
    tasks: JoinSet<()>,
    workers: JoinSet<()>,
    workers_wanted: usize,
    workers_end: watch::Sender<bool>,
}

impl<'a> Show<'a> {
    fn new(
        cluster: &'a Cluster,
        workers_wanted: usize,
        face: &'a mut Face,
        state: &'a mut State,
    ) -> Result<Self, LocalError> {
        let (events, arriving) = mpsc::channel(EVENTS);
        Ok(Self {
            client: cluster.client()?,
            // Apart from the one that looks, as users are apart from operators.
            load: cluster.client()?,
            cluster,
            face,
            state,
            hands: Hands::default(),
            events,
            arriving,
            tasks: JoinSet::new(),
            workers: JoinSet::new(),
            workers_wanted,
            workers_end: watch::Sender::new(false),
        })
    }

    /// Until the user or a signal ends it. With `orderly`, workers close their sessions.
    async fn run(mut self, signals: &mut Signals, orderly: bool) -> Result<(), Failure> {
        self.introduce();
        let nodes: Vec<NodeId> = self
            .cluster
            .processes()
            .iter()
            .map(|process| process.node())
            .collect();
        poll::start(&mut self.tasks, &self.client, nodes.into_iter(), &self.events);
        let ended = Box::pin(self.attend(signals)).await;
        stage(self.face, self.state, Stage::Stopping);
        if orderly && self.state.leader.is_some() {
            self.workers_end.send_replace(true);
            let closed = async { while self.workers.join_next().await.is_some() {} };
            // Sessions that could not be closed expire by themselves.
            let _ = timeout(CLOSE_WITHIN, closed).await;
        }
        self.workers.shutdown().await;
        self.tasks.shutdown().await;
        self.client.close().await;
        self.load.close().await;
        ended
    }

    /// Says who is where.
    fn introduce(&mut self) {
        let places = self.cluster.processes().iter().map(|process| state::Place {
            node: process.node().0,
            name: process.name().to_owned(),
            client_address: process.client_address(),
            http_address: process.http_address(),
            log: process.log_path().display().to_string(),
        });
        self.state.settled_in(places);
        for process in self.cluster.processes() {
            let text = format!(
                "replica {}: clients {}, status page http://{}/, log {}",
                process.name(),
                process.client_address(),
                process.http_address(),
                process.log_path().display()
            );
            self.say(Tone::Dim, text);
        }
        self.hands.look(self.cluster, self.state);
        stage(
            self.face,
            self.state,
            Stage::Starting("waiting for a leader".to_owned()),
        );
    }

    fn say(&mut self, tone: Tone, text: String) {
        self.state.apply(Moment::now(), Event::Said(tone, text));
    }

    async fn attend(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let mut begin = Box::pin(begin(self.cluster, self.client.clone(), self.events.clone()));
        let mut has_begun = false;
        while !self.face.is_closed() {
            tokio::select! {
                () = signals.next() => return Ok(()),
                typed = self.face.typed() => {
                    if self.wish(typed, has_begun) {
                        return Ok(());
                    }
                    face::now(self.face, self.state);
                }
                taken = self.arriving.recv_many(&mut batch, BATCH) => {
                    debug_assert!(taken > 0, "this task keeps a sender");
                    for (at, event) in batch.drain(..) {
                        self.state.apply(at, event);
                    }
                    self.face.tell(self.state);
                }
                begun = &mut begin, if !has_begun => {
                    self.begun(begun?);
                    has_begun = true;
                }
                _ = looks.tick() => {
                    self.hands.look(self.cluster, self.state);
                    face::now(self.face, self.state);
                }
                Some(Err(error)) = self.tasks.join_next() => return Err(broken(&error)),
                Some(Err(error)) = self.workers.join_next() => return Err(broken(&error)),
            }
        }
        // Nobody reads what is printed: there is nobody to show a cluster to.
        Ok(())
    }

    /// The cluster is ready and has its catalog: workers and load begin.
    fn begun(&mut self, catalog: String) {
        self.say(Tone::Dim, catalog);
        for number in 0..self.workers_wanted {
            let ends = self.workers_end.subscribe();
            self.workers
                .spawn(workers::run(self.load.clone(), number, self.events.clone(), ends));
        }
        self.tasks
            .spawn(writes::run(self.load.clone(), self.events.clone()));
        self.tasks
            .spawn(reads::run(self.load.clone(), self.events.clone()));
        let seeds = self.cluster.seeds().join(",");
        self.say(Tone::Plain, format!("seeds {seeds}"));
        self.say(
            Tone::Plain,
            format!("in another terminal: quorate status --seeds {seeds}"),
        );
        stage(self.face, self.state, Stage::Running);
        self.say(Tone::Good, "running; try: kill leader".to_owned());
    }

    /// Does what the user wants; true when that is the end.
    fn wish(&mut self, typed: Typed, has_begun: bool) -> bool {
        let verb = match typed {
            Typed::Verb(verb) => verb,
            Typed::Wrong(help) => {
                self.say(Tone::Bad, help);
                return false;
            }
            Typed::Resized => return false,
        };
        match verb {
            Verb::Quit => return true,
            Verb::Select(place) => self.state.select(place),
            Verb::Step(by) => self.state.step(by),
            Verb::Help => self.say(Tone::Plain, HELP.to_owned()),
            Verb::Status => {
                self.face.tell(self.state);
                self.face.report(self.state);
            }
            Verb::Do(..) | Verb::Transfer(_) if !has_begun => {
                self.say(Tone::Bad, "not yet: the cluster is still starting".to_owned());
            }
            Verb::Do(deed, target) => match self.state.place_of(&target) {
                Ok(place) => self.hands.act(self.cluster, self.state, deed, place),
                Err(why) => self.say(Tone::Bad, why),
            },
            Verb::Transfer(target) => self.transfer(target),
        }
        false
    }

    fn transfer(&mut self, target: Option<Target>) {
        let leader = self.state.place_of(&Target::Leader);
        let to = match target.map(|target| (self.state.place_of(&target), target)) {
            None => None,
            // The key, with the leader selected: to anybody else.
            Some((place, Target::Selected)) if place == leader => None,
            Some((Ok(place), _)) => self.cluster.processes().get(place),
            Some((Err(why), _)) => return self.say(Tone::Bad, why),
        };
        let replica = match leader {
            Ok(leader) => leader,
            Err(why) => return self.say(Tone::Bad, why),
        };
        self.state.apply(
            Moment::now(),
            Event::Deed {
                replica,
                deed: Deed::Transfer,
            },
        );
        let (to, client, events) = (
            to.map(|process| process.node()),
            self.client.clone(),
            self.events.clone(),
        );
        self.tasks.spawn(async move {
            let answer = client
                .with_deadline(TRANSFER_WITHIN)
                .cluster()
                .transfer_leadership(to)
                .await;
            if let Err(error) = answer {
                // Nobody listens when the end has begun.
                tell(
                    &events,
                    Event::Said(Tone::Bad, format!("leadership was not handed over: {error}")),
                )
                .await;
            }
        });
    }
}

/// Waits until the cluster is ready and makes the catalog.
async fn begin(cluster: &Cluster, client: Client, events: Events) -> Result<String, Failure> {
    cluster
        .ready(START_WITHIN)
        .await
        .map_err(|error| local_failure(&error))?;
    tell(
        &events,
        Event::Stage(Stage::Starting("creating the demo catalog".to_owned())),
    )
    .await;
    let client = client.with_deadline(START_WITHIN);
    let created = catalog::create(&client).await;
    created.map_err(|error| Failure::Failed(format!("the demo catalog cannot be created: {error}")))
}

fn stage(face: &mut Face, state: &mut State, stage: Stage) {
    state.apply(Moment::now(), Event::Stage(stage));
    face::now(face, state);
}

fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::Failed(format!(
        "a broken invariant ends this command (a bug, please report it): {error}"
    ))
}

fn place_failure(error: PlaceError) -> Failure {
    match error {
        PlaceError::Foreign(_) | PlaceError::Size { .. } => Failure::Usage(error.to_string()),
        PlaceError::Used(_) | PlaceError::System { .. } => Failure::Failed(error.to_string()),
    }
}

fn local_failure(error: &LocalError) -> Failure {
    match error {
        LocalError::NotReady { .. } => Failure::Unavailable(chain(error)),
        _ => Failure::Failed(chain(error)),
    }
}
