//! What is known of the cluster: a pure model, fed by events.
//!
//! Promises: no clock and no IO; every event carries its moment; everything that grows is bounded. Whatever is worth a
//! line is said once, in [`State::unsaid`], for those who print lines, and kept for a while for those who show a screen.

mod failover;
mod load;
mod replica;
mod workers;

use std::collections::VecDeque;
use std::time::Duration;

use quorate_client::v1;

use super::event::{Deed, Event, Leading, Life, Session, Stage, Tone};
use super::moment::Moment;
use super::verbs::Target;

pub(super) use failover::Failover;
pub(super) use load::Load;
pub(super) use replica::{Place, Replica};
pub(super) use workers::Workers;

use failover::Account;

/// Lines that a screen can show.
const NEWS_MAX: usize = 64;
/// Between two failures that are told.
const FAILURES_EVERY: Duration = Duration::from_secs(5);
/// A deed explains a change of leader for this long.
const EXPLAINS: Duration = Duration::from_secs(120);
/// A wish to hand over does so for this long; it may have been refused.
const TRANSFER_EXPLAINS: Duration = Duration::from_secs(15);

/// A line of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    /// When.
    pub(super) at: Moment,
    /// How it is meant.
    pub(super) tone: Tone,
    /// What.
    pub(super) text: String,
}

/// What does not change.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// When the program began.
    pub(super) began: Moment,
    /// The profile's name.
    pub(super) profile: String,
    /// Where data and logs are.
    pub(super) directory: String,
    /// Workers.
    pub(super) workers: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    /// What does not change.
    pub(super) setting: Setting,
    /// The replicas, in the order of their names.
    pub(super) replicas: Vec<Replica>,
    /// Who leads, and since when that is known.
    pub(super) leader: Option<(Leading, Moment)>,
    /// Since when nobody leads.
    pub(super) leaderless: Option<Moment>,
    /// The load.
    pub(super) load: Load,
    /// The workers' sessions.
    pub(super) workers: Workers,
    /// The last change of leader.
    pub(super) failover: Option<Failover>,
    /// Changes of leader so far.
    pub(super) failovers: u64,
    /// How far the program is.
    pub(super) stage: Stage,
    /// The place of the selected replica.
    pub(super) selected: usize,
    /// The latest news, oldest first.
    pub(super) news: VecDeque<News>,
    /// The moment of the last event.
    pub(super) now: Moment,
    last_leader: Option<Leading>,
    deed: Option<(Moment, u64, Deed)>,
    failure_told: Option<Moment>,
    unsaid: Vec<News>,
}

impl State {
    /// Nothing has happened yet.
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            now: setting.began,
            workers: Workers::new(setting.workers),
            setting,
            replicas: Vec::new(),
            leader: None,
            leaderless: None,
            load: Load::default(),
            failover: None,
            failovers: 0,
            stage: Stage::Starting("starting".to_owned()),
            selected: 0,
            news: VecDeque::new(),
            last_leader: None,
            deed: None,
            failure_told: None,
            unsaid: Vec::new(),
        }
    }

    /// The replicas are known from here on.
    pub(super) fn settled_in(&mut self, places: impl IntoIterator<Item = Place>) {
        self.replicas = places.into_iter().map(Replica::new).collect();
    }

    /// News that were not said yet.
    pub(super) fn unsaid(&mut self) -> Vec<News> {
        std::mem::take(&mut self.unsaid)
    }

    /// The place of the replica that is meant.
    pub(super) fn place_of(&self, target: &Target) -> Result<usize, String> {
        match target {
            Target::Selected => Ok(self.selected),
            Target::Leader => {
                let leader = self.leader.ok_or("nobody leads at the moment")?;
                self.place_of_node(leader.0.node)
                    .ok_or_else(|| "the leader is none of these replicas".to_owned())
            }
            Target::Named(name) => {
                let found = self
                    .replicas
                    .iter()
                    .position(|replica| replica.place.name == *name);
                found.ok_or_else(|| {
                    let names: Vec<&str> = self
                        .replicas
                        .iter()
                        .map(|replica| replica.place.name.as_str())
                        .collect();
                    format!(
                        "there is no replica {:?}; there are {}",
                        super::verbs::shown(name),
                        names.join(", ")
                    )
                })
            }
        }
    }

    /// Selects the replica in this place, when there is one.
    pub(super) fn select(&mut self, place: usize) {
        if place < self.replicas.len() {
            self.selected = place;
        }
    }

    /// Selects the replica so many places further, round and round.
    pub(super) fn step(&mut self, by: isize) {
        let length = self.replicas.len().max(1);
        self.selected = (self.selected + length).saturating_add_signed(by) % length;
    }

    /// The replica with this id has answered lately.
    pub(super) fn answers(&self, node: u64) -> bool {
        let place = self
            .place_of_node(node)
            .and_then(|place| self.replicas.get(place));
        place.is_some_and(|replica| replica.fresh(self.now).is_some())
    }

    /// The name of the replica with this id.
    pub(super) fn name(&self, node: u64) -> String {
        let place = self
            .place_of_node(node)
            .and_then(|place| self.replicas.get(place));
        place.map_or_else(|| format!("node {node}"), |replica| replica.place.name.clone())
    }

    /// `event` happened.
    pub(super) fn apply(&mut self, at: Moment, event: Event) {
        self.now = self.now.max(at);
        match event {
            Event::Process { replica, pid, life } => self.lives(at, replica, pid, life),
            Event::Status { replica, answer } => self.answered(at, replica, answer),
            Event::Leader(leader) => self.led_by(at, leader),
            Event::WriteSent => self.load.sent += 1,
            Event::WriteAcknowledged => self.load.acknowledge(at),
            Event::WriteFailed(why) => {
                self.load.failed += 1;
                self.failed(at, "a write", why);
            }
            Event::ReadAnswered => self.load.reads += 1,
            Event::ReadFailed(why) => {
                self.load.reads_failed += 1;
                self.failed(at, "a read", why);
            }
            Event::Worker { number, session } => self.session(at, number, session),
            Event::Deed { replica, deed } => self.done(at, replica, deed),
            Event::Said(tone, text) => self.say(at, tone, text),
            Event::Stage(stage) => {
                if let Stage::Starting(text) = &stage
                    && self.stage != stage
                {
                    self.say(at, Tone::Dim, text.clone());
                }
                self.stage = stage;
            }
            Event::Tick => {}
        }
        self.settle();
    }

    fn say(&mut self, at: Moment, tone: Tone, text: impl Into<String>) {
        let news = News {
            at,
            tone,
            text: text.into(),
        };
        if self.news.len() == NEWS_MAX {
            self.news.pop_front();
        }
        self.news.push_back(news.clone());
        self.unsaid.push(news);
    }

    fn lives(&mut self, at: Moment, place: usize, pid: Option<u32>, life: Life) {
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        if replica.life == life && replica.pid == pid {
            return;
        }
        let name = replica.place.name.clone();
        let born = matches!(life, Life::Running) && !matches!(replica.life, Life::Running | Life::Paused);
        let news = match &life {
            Life::Running if born => {
                replica.announced = false;
                replica.lives += 1;
                Some((
                    Tone::Dim,
                    format!("replica {name} runs, pid {}", pid.unwrap_or_default()),
                ))
            }
            Life::Ended(how) => Some((Tone::Warn, format!("replica {name} ended: {how}"))),
            Life::Running | Life::Paused | Life::Unborn => None,
        };
        let node = replica.place.node;
        let ended = matches!(life, Life::Ended(_));
        replica.life = life;
        replica.pid = pid;
        if let Some((tone, text)) = news
            && self.stage != Stage::Stopping
        {
            self.say(at, tone, text);
        }
        // Clients believe in a leader until they hear of another, and a process that is gone tells them nothing.
        if ended && self.leader.is_some_and(|(leader, _)| leader.node == node) {
            self.led_by(at, None);
        }
    }

    fn answered(&mut self, at: Moment, place: usize, answer: Result<Box<v1::StatusResponse>, String>) {
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        // Why a replica does not answer is in its process and in its log.
        let Ok(status) = answer else { return };
        let name = replica.place.name.clone();
        let mut news = Vec::new();
        let known_fault = replica
            .status
            .as_ref()
            .is_some_and(|(_, known)| !known.fault.is_empty());
        if !status.fault.is_empty() && !known_fault {
            news.push((
                Tone::Bad,
                format!("replica {name} was stopped by a fault: {}", status.fault),
            ));
        }
        let takes_part = matches!(
            status.role(),
            v1::Role::Leader | v1::Role::Follower | v1::Role::Learner
        );
        if takes_part && !replica.announced && replica.life == Life::Running {
            replica.announced = true;
            if replica.lives > 1 {
                let role = replica::role_word(status.role());
                news.push((Tone::Good, format!("replica {name} is back as {role}")));
            }
        }
        let node = replica.place.node;
        let term = status.topology.as_ref().map_or(0, |topology| topology.term);
        let leads = (status.role() == v1::Role::Leader).then_some(Leading { node, term });
        if let Some(change) = &status.last_leader_change
            && let Some(failover) = &mut self.failover
            && failover.settled.is_none()
            && (failover.to.node, failover.to.term) == (node, change.term)
            && change.node_id == node
        {
            failover.account = Some(Account::read(change));
        }
        replica.status = Some((at, status));
        for (tone, text) in news {
            self.say(at, tone, text);
        }
        if self.leader.is_none() && leads.is_some() && leads == self.last_leader {
            // It leads on in its term, which is no news to clients.
            self.led_by(at, leads);
        }
    }

    fn led_by(&mut self, at: Moment, leader: Option<Leading>) {
        let Some(new) = leader else {
            if self.leader.take().is_some() {
                self.leaderless = Some(at);
                if self.stage != Stage::Stopping {
                    self.say(at, Tone::Warn, "nobody leads");
                }
            }
            return;
        };
        self.leaderless = None;
        if self.leader.is_some_and(|(known, _)| known == new) {
            return;
        }
        self.leader = Some((new, at));
        let Some(last) = self.last_leader.replace(new) else {
            let name = self.name(new.node);
            self.say(at, Tone::Good, format!("leader {name}, term {}", new.term));
            return;
        };
        if last == new {
            let name = self.name(new.node);
            self.say(at, Tone::Good, format!("leader {name} again, term {}", new.term));
            return;
        }
        if matches!(self.stage, Stage::Starting(_)) {
            // A group that forms may need more than one election; no client saw that.
            let name = self.name(new.node);
            self.say(at, Tone::Good, format!("leader {name}, term {}", new.term));
            return;
        }
        self.failed_over(at, last, new);
    }

    fn failed_over(&mut self, at: Moment, last: Leading, new: Leading) {
        if let Some(mut open) = self.failover.take() {
            if open.settled.is_none() {
                open.close(at, &self.load);
                self.tell(&open);
            }
            self.failover = Some(open);
        }
        let earlier = self.failover.as_ref().and_then(|failover| failover.settled);
        let explains = |(done, node, deed): &(Moment, u64, Deed)| {
            let explains = if *deed == Deed::Transfer {
                TRANSFER_EXPLAINS
            } else {
                EXPLAINS
            };
            at.since(*done) < explains && *node == last.node
        };
        let cause = self
            .deed
            .take_if(|deed| explains(deed))
            .map(|(done, _, deed)| (done, deed));
        let mut failover = Failover::new(last.node, new, at, cause, earlier);
        failover.fenced_before = self.workers.fenced;
        self.failover = Some(failover);
        self.failovers += 1;
        let (name, was) = (self.name(new.node), self.name(last.node));
        self.say(
            at,
            Tone::Good,
            format!("leader {name}, term {} (was {was})", new.term),
        );
    }

    fn done(&mut self, at: Moment, place: usize, deed: Deed) {
        let Some(replica) = self.replicas.get(place) else {
            return;
        };
        let (name, node) = (replica.place.name.clone(), replica.place.node);
        let led = self.leader.is_some_and(|(leader, _)| leader.node == node);
        let leader = if led { " (the leader)" } else { "" };
        let text = match deed {
            Deed::Kill => format!("kill -9 {name}{leader}"),
            Deed::Pause => format!("pause {name}{leader}"),
            Deed::Resume => format!("resume {name}"),
            Deed::Terminate => format!("stop {name}{leader}"),
            Deed::Start => format!("start {name}"),
            Deed::Transfer => "leadership is to be handed over".to_owned(),
        };
        if deed == Deed::Transfer || (led && matches!(deed, Deed::Kill | Deed::Pause | Deed::Terminate)) {
            self.deed = Some((at, node, deed));
        }
        self.say(at, Tone::Bold, text);
    }

    fn failed(&mut self, at: Moment, what: &str, why: String) {
        // Failures come in crowds: one is told now and then, and the counts show them all.
        if self
            .failure_told
            .is_none_or(|told| at.since(told) >= FAILURES_EVERY)
        {
            self.failure_told = Some(at);
            self.say(at, Tone::Bad, format!("{what} failed: {why}"));
        }
    }

    fn session(&mut self, at: Moment, number: usize, session: Session) {
        if self.workers.changed(number, session) {
            let workers = self.workers.len();
            self.say(
                at,
                Tone::Good,
                format!("all {workers} workers have their sessions"),
            );
        }
        if session == Session::Fenced {
            self.say(
                at,
                Tone::Warn,
                format!("the session of worker {number} was fenced; it opens another"),
            );
        }
    }

    fn settle(&mut self) {
        let Some(mut failover) = self.failover.take() else {
            return;
        };
        if failover.settle(self.now, &self.load) {
            self.tell(&failover);
        }
        if failover.settled.is_none() {
            failover.fenced = self.workers.fenced - failover.fenced_before;
        }
        self.failover = Some(failover);
    }

    /// The whole story of a failover in a line.
    fn tell(&mut self, failover: &Failover) {
        let (from, to) = (self.name(failover.from), self.name(failover.to.node));
        let mut text = format!(
            "failover {from} -> {to}, term {}, {}: {}",
            failover.to.term,
            failover.reason(),
            failover.waited()
        );
        let steps = failover.steps();
        if !steps.is_empty() {
            text = format!("{text}; {steps}");
        }
        self.say(self.now, Tone::Bold, text);
    }

    fn place_of_node(&self, node: u64) -> Option<usize> {
        self.replicas
            .iter()
            .position(|replica| replica.place.node == node)
    }
}

#[cfg(test)]
mod tests;
