//! The simulated world: what happens when, and what comes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use lsm_store::rng::SeededRng;
use net::replication::{
    Configuration, Epoch, Event, History, Lsn, Message, NodeId, Outcome, Policy, Replica, RequestId, Standing, Ticket,
    Timing, TransferId, Windows,
};

use super::bug::Bug;
use super::clients::Client;
use super::disk::{BLOCKS, Image};
use super::node::Node;
use super::oracle::Oracle;
use super::service::Service;
use crate::model::Violation;

pub(super) const MS: u64 = 1000;
pub(super) const SECOND: u64 = 1000 * MS;

/// How long it may take until all is well again.
const HEALING_US: u64 = 120 * SECOND;

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Digest of everything that happened, in order.
    pub digest: u64,
    /// Writes answered.
    pub writes: u64,
    /// Reads answered.
    pub reads: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Configurations there were.
    pub epochs: u64,
    /// Times that all members had lost their tails.
    pub losses: u64,
    /// Times that all content was sent.
    pub transfers: u64,
    /// Longest time in which no request was answered, in simulated microseconds.
    pub pause_us: u64,
}

/// What is going to happen.
#[derive(Debug)]
pub(super) enum What {
    Deliver { to: NodeId, from: NodeId, message: Message },
    Timer { slot: usize, generation: u64 },
    Handed { slot: usize, generation: u64, ticket: Ticket },
    Synced { slot: usize, generation: u64, ticket: Ticket },
    SyncFails { slot: usize, generation: u64 },
    Tell { slot: usize, generation: u64, event: Event },
    Proposal { slot: usize, generation: u64, next: Configuration },
    Fetch { slot: usize, generation: u64 },
    Look { slot: usize, generation: u64, request: RequestId },
    Content { to: NodeId, from: NodeId, transfer: TransferId, history: History, sent: Sent },
    Housekeeping { slot: usize },
    Start { slot: usize },
    Act { client: usize },
    Arrive { client: usize, request: RequestId },
    Reply { client: usize, request: RequestId, outcome: Outcome },
    GiveUp { client: usize, request: RequestId },
    Nemesis,
    Heal,
    Check,
}

/// Content as it travels.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    All(Image),
    /// What differs from this LSN on.
    Since(Lsn, [Option<u64>; BLOCKS]),
    /// It was damaged on the way.
    Damaged,
}

pub(super) struct World {
    pub(super) rng: SeededRng,
    pub(super) bug: Option<Bug>,
    pub(super) now: u64,
    pub(super) queue: BTreeMap<(u64, u64), What>,
    pub(super) count: u64,
    pub(super) hasher: DefaultHasher,
    pub(super) trace: Option<String>,
    pub(super) policy: Policy,
    pub(super) nodes: Vec<Node>,
    pub(super) next_id: u64,
    pub(super) placement: Vec<NodeId>,
    pub(super) service: Service,
    pub(super) clients: Vec<Client>,
    pub(super) requests: BTreeMap<RequestId, usize>,
    pub(super) next_request: u64,
    pub(super) next_value: u64,
    pub(super) oracle: Oracle,
    pub(super) cut: BTreeMap<(usize, usize), u64>,
    pub(super) loss_percent: u64,
    pub(super) repeat_percent: u64,
    pub(super) late_percent: u64,
    pub(super) is_healed: bool,
    pub(super) cuts: u64,
    pub(super) is_served_since: Option<(u64, u64)>,
    pub(super) is_done: bool,
    /// The last loss that clients know of.
    pub(super) loss: Epoch,
    pub(super) report: Report,
    pub(super) answered_at: u64,
}

/// Runs the seed. The same seed gives the same digest.
///
/// # Errors
/// What was violated.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Report, Violation> {
    World::new(seed, bug, false).run().map_err(|(violation, _)| violation)
}

/// Runs the seed and tells everything that happened.
///
/// # Errors
/// What was violated, behind what led to it.
pub fn trace(seed: u64, bug: Option<Bug>) -> Result<Report, Violation> {
    World::new(seed, bug, true).run().map_err(|(violation, trace)| Violation(format!("{trace}{violation}")))
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, traces: bool) -> Self {
        let rng = SeededRng::new(seed);
        let slots = 3 + rng.below(3) as usize;
        let copies = if rng.below(4) == 0 { 2 } else { 3 };
        let in_sync_min = if copies == 2 && rng.below(2) == 0 { 1 } else { 2 };
        let timing = Timing { doubt_us: 6 * SECOND, ..Timing::DEFAULT };
        let windows =
            Windows { accepted: 2 + rng.below(8) as usize, recent: 4, batch: 3, in_flight: 6, ..Windows::DEFAULT };
        let policy = Policy { timing, windows, in_sync_min };
        let ids: Vec<NodeId> = (1..=slots as u64).map(NodeId).collect();
        let standing = |id: &NodeId| if id.0 == 1 { Standing::Sound(Epoch(1)) } else { Standing::Outside };
        let nodes = ids.iter().map(|id| Node::new(*id, standing(id), &rng)).collect();
        let placement = ids[..copies].to_vec();
        let service = Service::new(Configuration::first(ids[0], &placement));
        let clients = (0..2 + rng.below(3)).map(|_| Client::new()).collect();
        Self {
            rng,
            bug,
            now: 0,
            queue: BTreeMap::new(),
            count: 0,
            hasher: DefaultHasher::new(),
            trace: traces.then(String::new),
            policy,
            nodes,
            next_id: slots as u64 + 1,
            placement,
            service,
            clients,
            requests: BTreeMap::new(),
            next_request: 1,
            next_value: 1,
            oracle: Oracle::default(),
            cut: BTreeMap::new(),
            loss_percent: 0,
            repeat_percent: 0,
            late_percent: 0,
            is_healed: false,
            cuts: 0,
            is_served_since: None,
            is_done: false,
            loss: Epoch(0),
            report: Report::default(),
            answered_at: 0,
        }
    }

    fn run(mut self) -> Result<Report, (Violation, String)> {
        for slot in 0..self.nodes.len() {
            self.at(0, What::Start { slot });
            self.at(SECOND, What::Housekeeping { slot });
        }
        (0..self.clients.len()).for_each(|client| self.at(100 * MS, What::Act { client }));
        let faults_us = 4 * SECOND + self.rng.below(16 * SECOND);
        self.at(SECOND, What::Nemesis);
        self.at(faults_us, What::Heal);
        let result = self.go_on(faults_us + HEALING_US);
        let trace = self.trace.take().unwrap_or_default();
        match result {
            Ok(()) => {
                let (writes, reads, flushes) = (self.oracle.writes, self.oracle.reads, self.oracle.flushes);
                let (digest, epochs) = (self.hasher.finish(), self.service.now().epoch.0);
                Ok(Report { digest, writes, reads, flushes, epochs, ..self.report })
            }
            Err(violation) => Err((violation, trace)),
        }
    }

    fn go_on(&mut self, until: u64) -> Result<(), Violation> {
        while !self.is_done {
            let Some(((time, _), what)) = self.queue.pop_first() else {
                return Err(Violation("nothing happens any more".into()));
            };
            self.now = time;
            if time > until {
                return Err(Violation(format!("stuck: {}", self.describe())));
            }
            self.happen(what)?;
        }
        self.final_check()
    }

    pub(super) fn at(&mut self, delay: u64, what: What) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), what);
    }

    pub(super) fn tell_trace(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{:>10} {}", self.now, what());
        }
    }

    pub(super) fn note(&mut self, slot: usize, kind: &str) {
        (self.now, slot, kind).hash(&mut self.hasher);
        let kind = kind.to_owned();
        self.tell_trace(|| format!("#{slot} {kind}"));
    }

    pub(super) fn slot_of(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    pub(super) fn is_current(&self, slot: usize, generation: u64) -> bool {
        self.nodes[slot].generation == generation && self.nodes[slot].replica.is_some()
    }

    fn happen(&mut self, what: What) -> Result<(), Violation> {
        match what {
            What::Deliver { to, from, message } => self.deliver(to, from, message)?,
            What::Timer { slot, generation } => {
                if self.is_current(slot, generation) && self.nodes[slot].timer_at <= self.now {
                    self.step(slot, Event::Timer)?;
                }
            }
            What::Handed { slot, generation, ticket } => {
                if self.is_current(slot, generation) {
                    self.nodes[slot].disk.hand(ticket);
                    self.step(slot, Event::Journaled(ticket))?;
                }
            }
            What::Synced { slot, generation, ticket } => {
                if self.is_current(slot, generation) {
                    if self.bug != Some(Bug::SyncSkipped) {
                        self.nodes[slot].disk.sync(ticket);
                    }
                    self.step(slot, Event::Synced(ticket))?;
                }
            }
            What::SyncFails { slot, generation } => {
                if self.is_current(slot, generation) {
                    self.note(slot, "sync failed");
                    self.step(slot, Event::JournalFailed)?;
                    // The process restarts and reads what the disk has, past the kernel's memory.
                    self.stop(slot, true);
                    let delay = self.rng.below(2 * SECOND);
                    self.at(delay, What::Start { slot });
                }
            }
            What::Tell { slot, generation, event } => {
                // A node looks at the placement there is: what it is told of never goes back to an older one.
                let event =
                    if let Event::Placement(_) = event { Event::Placement(self.placement.clone()) } else { event };
                if self.is_current(slot, generation) {
                    self.step(slot, event)?;
                }
            }
            What::Proposal { slot, generation, next } => self.proposal(slot, generation, &next),
            What::Fetch { slot, generation } => self.fetch(slot, generation),
            What::Look { slot, generation, request } => self.look(slot, generation, request)?,
            What::Content { to, from, transfer, history, sent } => self.content(to, from, transfer, history, sent)?,
            What::Housekeeping { slot } => self.housekeeping(slot)?,
            What::Start { slot } => self.start(slot)?,
            What::Act { client } => self.act(client),
            What::Arrive { client, request } => self.arrive(client, request)?,
            What::Reply { client, request, outcome } => self.reply(client, request, outcome),
            What::GiveUp { client, request } => self.give_up(client, request),
            What::Nemesis => self.nemesis()?,
            What::Heal => self.heal(),
            What::Check => self.check_health(),
        }
        Ok(())
    }

    /// Starts a node that is down.
    pub(super) fn start(&mut self, slot: usize) -> Result<(), Violation> {
        if self.nodes[slot].replica.is_some() {
            return Ok(());
        }
        self.note(slot, "start");
        let was_wiped = self.nodes[slot].was_wiped;
        let claims = self.bug == Some(Bug::CutTakenForRestart) || (self.bug == Some(Bug::NodeIdReused) && was_wiped);
        let node = &mut self.nodes[slot];
        let start = node.start(&self.rng, claims);
        let (now, mut out) = (node.clock(self.now), Vec::new());
        let replica = Replica::new(now, start, self.policy, &mut out);
        node.replica = Some(replica.map_err(|error| Violation(error.to_string()))?);
        self.execute(slot, out)?;
        if self.rng.below(2) == 0 {
            // A copy of the configuration that may be old is at hand first.
            let past = &self.service.past;
            let configuration = past[self.rng.below(past.len() as u64) as usize].clone();
            self.step(slot, Event::Configuration { configuration, is_fresh: false })?;
        }
        let placement = self.placement.clone();
        self.step(slot, Event::Placement(placement))?;
        self.step(slot, Event::Timer)
    }

    /// Stops a node: the process alone, or the machine with what its kernel had.
    pub(super) fn stop(&mut self, slot: usize, cuts_power: bool) {
        if self.nodes[slot].replica.is_none() {
            return;
        }
        // With a member gone for good, another one that loses its tail may be more than a volume can stand without help.
        let is_short = self.service.now().members.iter().any(|member| self.slot_of(member.node).is_none());
        let cuts_power = cuts_power && !is_short;
        self.note(slot, if cuts_power { "power cut" } else { "kill" });
        let node = &mut self.nodes[slot];
        if cuts_power {
            node.disk.cut_power(&self.rng);
            self.cuts += 1;
        } else {
            node.disk.kill();
        }
        node.paused_until = 0;
        node.forget_process(self.now);
    }

    pub(super) fn step(&mut self, slot: usize, event: Event) -> Result<(), Violation> {
        let node = &mut self.nodes[slot];
        if node.paused_until > self.now {
            let (delay, generation) = (node.paused_until - self.now, node.generation);
            self.at(delay, What::Tell { slot, generation, event });
            return Ok(());
        }
        let (now, mut out) = (node.clock(self.now), Vec::new());
        let Some(replica) = &mut node.replica else { return Ok(()) };
        if self.trace.is_some() && event != Event::Timer {
            let line = format!("#{slot} <- {event:?}");
            self.trace.iter_mut().for_each(|trace| _ = writeln!(trace, "{:>10} {line}", self.now));
        }
        replica.step(now, event, &mut out);
        let deadline = replica.deadline();
        (self.now, slot, out.len(), deadline).hash(&mut self.hasher);
        let due = self.nodes[slot].when(deadline).max(self.now + 1);
        let generation = self.nodes[slot].generation;
        if self.nodes[slot].timer_at != due {
            self.nodes[slot].timer_at = due;
            self.at(due - self.now, What::Timer { slot, generation });
        }
        self.execute(slot, out)
    }

    /// A flush job, and the journal's tail moves.
    fn housekeeping(&mut self, slot: usize) -> Result<(), Violation> {
        let delay = 300 * MS + self.rng.below(SECOND);
        self.at(delay, What::Housekeeping { slot });
        let node = &self.nodes[slot];
        if node.replica.is_none() || node.paused_until > self.now || node.disk.live.is_torn {
            return Ok(());
        }
        if self.rng.below(4) == 0 {
            self.step(slot, Event::NeedSync)?;
        }
        let node = &self.nodes[slot];
        let alone = self.bug == Some(Bug::FlushesAlone);
        let most = if alone { node.disk.synced() } else { node.replica.as_ref().map_or(Lsn(0), Replica::flushable) };
        let (floor, end) = (node.disk.live.floor, node.disk.live.end());
        if most <= floor || node.replica.is_none() {
            return Ok(());
        }
        if most > end || (most > node.disk.synced() && self.bug != Some(Bug::SyncSkipped)) {
            return Err(Violation(format!("#{slot} may flush {most:?} and has synced {:?}", node.disk.synced())));
        }
        let to = Lsn(floor.0 + 1 + self.rng.below(most.0 - floor.0));
        self.oracle.flushed_to_runs(&node.disk.live, floor, to)?;
        let keep = self.rng.below(12);
        let holds_until = self.nodes[slot].holds_until;
        let disk = &mut self.nodes[slot].disk;
        disk.flush(to);
        if holds_until <= self.now {
            disk.trim(Lsn(to.0.saturating_sub(keep) + 1));
        }
        let (start, base) = (disk.live.journal_start(), disk.live.base);
        self.oracle.content_is_right(to, &base)?;
        self.step(slot, Event::Floor(to))?;
        self.step(slot, Event::JournalStarts(start))
    }
}
