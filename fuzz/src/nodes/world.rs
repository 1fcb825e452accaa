//! The simulated world: what happens when, and what comes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blockdev::replica::{LocalReplica, Sending};
use lsm_store::clock::Clock;
use lsm_store::read::ReadData;
use lsm_store::rng::SeededRng;
use net::envelope::Message;
use net::replication::{Configuration, Epoch, Event, Lsn, NodeId, Outcome, Policy, Timing, TransferId, Windows};

use super::bug::Bug;
use super::client::{Client, Looking, Wish};
use super::content::{CELLS, Change};
use super::health::Ending;
use super::machine::{Death, Machine};
use super::network::Network;
use super::order::Order;
use super::process::{Process, VOLUME};
use crate::cluster::Service;
use crate::model::Violation;

pub(super) const MS: u64 = 1000;
pub(super) const SECOND: u64 = 1000 * MS;

/// How long it may take until all is well again.
const HEALING_US: u64 = 240 * SECOND;

/// Between two looks whether a node has the replica that it should have.
const MANAGE_US: u64 = 500 * MS;

/// How long a replica that failed stays silent.
const FAILED_PAUSE_US: u64 = 5 * SECOND;

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Digest of everything that happened, in order.
    pub digest: u64,
    /// Records answered.
    pub records: u64,
    /// Reads answered.
    pub reads: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Configurations there were.
    pub epochs: u64,
    /// Times that all members had lost their tails.
    pub losses: u64,
    /// Times that content was sent,
    pub transfers: u64,
    /// of these from something that the receiver had,
    pub based: u64,
    /// and broke off.
    pub broken: u64,
    /// Processes that died in the middle of something.
    pub deaths: u64,
    /// Longest time in which no request was answered, in simulated microseconds.
    pub pause_us: u64,
}

/// What is going to happen.
#[derive(Debug)]
pub(super) enum What {
    Deliver { to: usize, from: usize, message: Message },
    Question { to: usize, from: usize, generation: u64, transfer: TransferId, message: Message },
    Answer { transfer: TransferId, answer: Option<Message> },
    SendContent { sending: Sending, since: u64 },
    Pin { node: NodeId, at_most: Lsn },
    Unpin { node: NodeId },
    Execute,
    Apply,
    Sync,
    Upkeep,
    Manage,
    Tell(Event),
    Proposal { next: Configuration },
    Fetch,
    Look(Looking),
    Judge(Looking, ReadData),
    Start { slot: usize },
    MakeRoom { slot: usize },
    Act { client: usize },
    Arrive { client: usize, request: u64 },
    Reply { client: usize, request: u64, outcome: Outcome },
    GiveUp { client: usize, request: u64 },
    Nemesis,
    Heal,
    Check,
}

/// Something that happens to a process, if it is still there.
type Bound = Option<(usize, u64)>;

pub(super) struct World {
    seed: u64,
    pub(super) rng: SeededRng,
    pub(super) bug: Option<Bug>,
    pub(super) now: u64,
    /// The same, for the clocks of nodes.
    pub(super) clock: Arc<AtomicU64>,
    queue: BTreeMap<(u64, u64), (Bound, What)>,
    count: u64,
    hasher: DefaultHasher,
    trace: Option<String>,
    policy: Policy,
    pub(super) machines: Vec<Machine>,
    pub(super) processes: Vec<Option<Process>>,
    /// Counts the starts of processes on each machine, and those of replicas.
    pub(super) generations: Vec<u64>,
    pub(super) starts: Vec<u64>,
    pub(super) next_id: u64,
    pub(super) placement: Vec<NodeId>,
    pub(super) service: Service,
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    pub(super) next_request: u64,
    pub(super) next_number: u64,
    /// Cells that the volume has, as clients know.
    pub(super) cells: u64,
    pub(super) order: Order,
    pub(super) acknowledgers: BTreeMap<Epoch, (usize, u64, u64)>,
    pub(super) is_healed: bool,
    pub(super) ending: Ending,
    pub(super) is_done: bool,
    pub(super) cuts: u64,
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
            Windows { accepted: 4 + rng.below(8) as usize, recent: 8, batch: 6, in_flight: 12, ..Windows::DEFAULT };
        let policy = Policy { timing, windows, in_sync_min };
        let ids: Vec<NodeId> = (1..=slots as u64).map(NodeId).collect();
        let clock = Arc::new(AtomicU64::new(0));
        let machines = ids.iter().map(|id| Machine::new(*id, &clock, &rng)).collect();
        let placement = ids[..copies].to_vec();
        let service = Service::new(Configuration::first(ids[0], &placement));
        let clients = (0..2 + rng.below(3)).map(|_| Client::default()).collect();
        Self {
            seed,
            rng,
            bug,
            now: 0,
            clock,
            queue: BTreeMap::new(),
            count: 0,
            hasher: DefaultHasher::new(),
            trace: traces.then(String::new),
            policy,
            machines,
            processes: (0..slots).map(|_| None).collect(),
            generations: vec![0; slots],
            starts: vec![0; slots],
            next_id: slots as u64 + 1,
            placement,
            service,
            network: Network::default(),
            clients,
            next_request: 1,
            next_number: 1,
            cells: CELLS,
            order: Order::new(),
            acknowledgers: BTreeMap::new(),
            is_healed: false,
            ending: Ending::NotYet,
            is_done: false,
            cuts: 0,
            report: Report::default(),
            answered_at: 0,
        }
    }

    fn run(mut self) -> Result<Report, (Violation, String)> {
        // What a daemon would die of is a violation like any other.
        let ended = catch_unwind(AssertUnwindSafe(|| self.live()));
        let ended = ended.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Violation(format!("panicked: {}", text.unwrap_or_default())))
        });
        let trace = self.trace.take().unwrap_or_default();
        ended.map_err(|violation| (violation, trace))?;
        let Order { ordered, reads, flushes, .. } = self.order;
        let (digest, epochs) = (self.hasher.finish(), self.service.now().epoch.0);
        Ok(Report { digest, records: ordered, reads, flushes, epochs, ..self.report })
    }

    fn live(&mut self) -> Result<(), Violation> {
        (0..self.machines.len()).for_each(|slot| self.at(0, What::Start { slot }));
        // The log begins with the size, so that whoever gets all of it one day gets that too.
        let number = self.number(Change::Resize { cells: CELLS });
        self.wish(0, Wish::Order(vec![number]));
        (1..self.clients.len()).for_each(|client| self.at(SECOND, What::Act { client }));
        let faults_us = 4 * SECOND + self.rng.below(16 * SECOND);
        self.at(2 * SECOND, What::Nemesis);
        self.at(faults_us, What::Heal);
        let until = faults_us + HEALING_US;
        while !self.is_done {
            let Some(((time, _), (bound, what))) = self.queue.pop_first() else {
                return Err(Violation("nothing happens any more".into()));
            };
            self.now = time;
            self.clock.store(time, Ordering::Relaxed);
            if time > until {
                return Err(Violation(format!("stuck: {}", self.describe())));
            }
            self.happen(bound, what)?;
        }
        Ok(())
    }

    pub(super) fn at(&mut self, delay: u64, what: What) {
        self.put(delay, None, what);
    }

    /// Something happens to a process, unless that ends before.
    pub(super) fn on(&mut self, slot: usize, delay: u64, what: What) {
        self.put(delay, Some((slot, self.generations[slot])), what);
    }

    fn put(&mut self, delay: u64, bound: Bound, what: What) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), (bound, what));
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
        self.machines.iter().position(|machine| machine.id == id)
    }

    fn happen(&mut self, bound: Bound, what: What) -> Result<(), Violation> {
        if let Some((slot, generation)) = bound {
            return self.happen_on(slot, generation, what);
        }
        match what {
            What::Deliver { to, .. } | What::Question { to, .. } if self.machines[to].paused_until > self.now => {
                let delay = self.machines[to].paused_until - self.now;
                self.at(delay, what);
            }
            What::Deliver { to, from, message } => self.deliver(to, from, message),
            What::Question { to, from, generation, transfer, message } => {
                self.question(to, (from, generation), transfer, &message)?;
            }
            What::Start { slot } => self.start(slot)?,
            What::MakeRoom { slot } => self.make_room(slot),
            What::Act { client } => self.act(client),
            What::Arrive { client, request } => self.arrive(client, request)?,
            What::Reply { client, request, outcome } => self.reply(client, request, outcome)?,
            What::GiveUp { client, request } => self.give_up(client, request),
            What::Nemesis => self.nemesis(),
            What::Heal => self.heal(),
            What::Check => self.check_health()?,
            what => unreachable!("{what:?} happens to a process"),
        }
        Ok(())
    }

    fn happen_on(&mut self, slot: usize, generation: u64, what: What) -> Result<(), Violation> {
        if self.generations[slot] != generation || self.processes[slot].is_none() {
            return Ok(());
        }
        let machine = &self.machines[slot];
        if machine.paused_until > self.now {
            let delay = machine.paused_until - self.now;
            self.on(slot, delay, what);
            return Ok(());
        }
        let passed = Duration::from_micros(self.now).saturating_sub(machine.clock.monotonic());
        machine.clock.advance(passed);
        (self.now, slot, machine.disk.operation_count()).hash(&mut self.hasher);
        match what {
            What::Execute => self.execute(slot),
            What::Apply => self.apply(slot),
            What::Sync => self.sync(slot),
            What::Upkeep => self.upkeep(slot),
            What::Manage => self.manage(slot),
            // A node looks at the placement there is: what it is told of never goes back to an older one.
            What::Tell(Event::Placement(_)) => {
                self.tell(slot, Event::Placement(self.placement.clone()));
                Ok(())
            }
            What::Tell(event) => {
                self.tell(slot, event);
                Ok(())
            }
            What::Proposal { next } => {
                self.proposal(slot, &next);
                Ok(())
            }
            What::Fetch => {
                self.fetch(slot);
                Ok(())
            }
            What::Look(looking) => self.look_up(slot, looking),
            What::Judge(looking, data) => self.judge(slot, &looking, data),
            What::Answer { transfer, answer } => self.answer(slot, transfer, answer),
            What::SendContent { sending, since } => self.send_content(slot, sending, since),
            What::Pin { node, at_most } => self.pin(slot, node, at_most),
            What::Unpin { node } => {
                self.unpin(slot, node);
                self.settle(slot)
            }
            what => unreachable!("{what:?} happens to no process"),
        }
    }

    /// Starts a process that is down. The machine may die of that.
    fn start(&mut self, slot: usize) -> Result<(), Violation> {
        if self.processes[slot].is_some() {
            return Ok(());
        }
        self.note(slot, "start");
        self.generations[slot] += 1;
        if !self.is_healed && self.machines[slot].has_store && self.rng.below(4) == 0 {
            let death = if self.rng.below(2) == 0 { Death::Kill } else { Death::PowerCut };
            let operations = self.rng.below(80);
            self.machines[slot].doom(death, operations);
        }
        let seed = self.seed ^ (slot as u64) << 32 ^ self.generations[slot];
        let started = Process::start(&mut self.machines[slot], self.bug, seed);
        match (started, self.machines[slot].death()) {
            (Ok(process), None) => {
                self.processes[slot] = Some(process);
                self.on(slot, 0, What::Manage);
                self.on(slot, MS, What::Upkeep);
            }
            (_, Some(death)) => {
                self.report.deaths += 1;
                self.note(slot, "dies at its start");
                self.machines[slot].die(death, &self.rng, self.bug);
                self.cuts += u64::from(death == Death::PowerCut);
                self.at(100 * MS, What::Start { slot });
            }
            (Err(error), None) => {
                let why = crate::runner::chain(&error);
                self.tell_trace(|| format!("#{slot} does not start: {why}"));
                if self.is_healed && self.machines[slot].full_until == 0 && self.now > HEALING_US / 2 {
                    return Err(Violation(format!("#{slot} does not start: {why}")));
                }
                self.machines[slot].die(Death::Kill, &self.rng, self.bug);
                self.at(SECOND, What::Start { slot });
            }
        }
        Ok(())
    }

    /// Sees that a node has the replica that it should have.
    fn manage(&mut self, slot: usize) -> Result<(), Violation> {
        self.on(slot, MANAGE_US, What::Manage);
        let id = self.machines[slot].id;
        let configuration = self.service.now().clone();
        let is_wanted = self.placement.contains(&id) || configuration.contains(id);
        let known = self.replica(slot);
        if !self.reaches_service(slot) {
            return Ok(());
        }
        let Some(process) = &self.processes[slot] else { return Ok(()) };
        if !is_wanted && (known.is_some() || process.node.replicas().contains(&VOLUME)) {
            return self.remove_replica(slot);
        }
        let is_running = known.as_ref().is_some_and(|it| !it.has_failed());
        if !is_wanted || is_running || known.as_ref().is_some_and(|it| it.failed_us() < FAILED_PAUSE_US) {
            return Ok(());
        }
        if known.is_some() {
            self.stop_replica(slot);
        }
        self.start_replica(slot, &configuration)
    }

    fn start_replica(&mut self, slot: usize, configuration: &Configuration) -> Result<(), Violation> {
        self.note(slot, "starts a replica");
        self.starts[slot] += 1;
        let Some(process) = &mut self.processes[slot] else { return Ok(()) };
        let machine = &self.machines[slot];
        let started = process.start_replica(machine, (configuration, self.policy), self.bug, &self.rng);
        if let Err(error) = started {
            let why = crate::runner::chain(&error);
            self.tell_trace(|| format!("#{slot} has no replica: {why}"));
            return self.settle(slot);
        }
        if self.rng.below(2) == 0 {
            // A copy of the configuration that may be old is at hand first.
            let past = &self.service.past;
            let configuration = past[self.rng.below(past.len() as u64) as usize].clone();
            self.tell(slot, Event::Configuration { configuration, is_fresh: false });
        }
        self.tell(slot, Event::Placement(self.placement.clone()));
        let is_empty = |replica: &LocalReplica| replica.hands().is_some_and(|it| it.log().end() == Lsn(0));
        if self.replica(slot).is_some_and(|replica| is_empty(&replica)) {
            self.machines[slot].attempted = Lsn(0);
        }
        self.check_store(slot)?;
        self.settle(slot)
    }

    fn stop_replica(&mut self, slot: usize) {
        self.note_attempted(slot);
        self.forget_transfers(slot);
        let running = self.processes[slot].as_mut().and_then(|process| process.running.take());
        self.forget_waiting(running);
    }

    fn remove_replica(&mut self, slot: usize) -> Result<(), Violation> {
        self.note(slot, "removes its replica");
        self.stop_replica(slot);
        if let Some(process) = &self.processes[slot] {
            let device = self.machines[slot].device(self.bug);
            let removed = LocalReplica::remove(&*device, &process.node, VOLUME);
            self.tell_trace(|| format!("#{slot} removed its replica: {removed:?}"));
        }
        self.settle(slot)
    }

    fn proposal(&mut self, slot: usize, next: &Configuration) {
        if !self.reaches_service(slot) || !self.service.propose(next, true) {
            let delay = self.service_delay();
            self.on(slot, delay, What::Tell(Event::ProposalFailed));
            return;
        }
        self.note(slot, "configured");
        let next = self.service.now().clone();
        self.tell_trace(|| format!("= {next:?}"));
        for other in 0..self.machines.len() {
            let far = if self.rng.below(4) == 0 && !self.is_healed { self.rng.below(3 * SECOND) } else { 0 };
            let is_told = self.is_healed || self.rng.below(10) > 0;
            if is_told && self.reaches_service(other) {
                let event = Event::Configuration { configuration: next.clone(), is_fresh: false };
                let delay = self.service_delay() + far;
                self.on(other, delay, What::Tell(event));
            }
        }
    }

    fn fetch(&mut self, slot: usize) {
        if self.reaches_service(slot) {
            let (delay, configuration) = (self.service_delay(), self.service.now().clone());
            self.on(slot, delay, What::Tell(Event::Configuration { configuration, is_fresh: true }));
        }
    }
}
