//! Runs the harnesses for as long as one likes. Every failure ends with the command that repeats it.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::bail;
use clap::{Args, Parser, Subcommand, ValueEnum};
use fuzz::crash::{self, Effort};
use fuzz::fault::{self, Failure};
use fuzz::model::Violation;
use fuzz::rot::{Damage, Golden, Stop, Tally};
use fuzz::store::StoreMaker;
use fuzz::system::Maker;
use fuzz::{cluster, full, nodes, protocol, random};
use lsm_store::rng::SeededRng;

#[derive(Parser)]
#[command(name = "fuzz", about = "Proves the store: model, crashes, rot, I/O errors, full disks")]
struct Cli {
    #[command(subcommand)]
    harness: Harness,
}

#[derive(Args, Clone, Copy)]
struct Seeds {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, upwards from the first.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Operations of each workload.
    #[arg(long, default_value_t = 60)]
    ops: usize,
    /// Seeds tried at the same time.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// Seeds of which each decides a whole history.
#[derive(Args, Clone, Copy)]
struct Histories {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, upwards from the first.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Seeds tried at the same time.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// On a failure, tell everything that led to it.
    #[arg(long)]
    trace: bool,
}

/// A part of a campaign: it can be broken off, and go on from the last place it has told of.
#[derive(Args, Clone, Copy)]
struct Part {
    /// The first place.
    #[arg(long, default_value_t = 0)]
    from: usize,
    /// The place behind the last.
    #[arg(long, default_value_t = usize::MAX)]
    to: usize,
}

impl Part {
    fn with_only(self, at: Option<u64>) -> Self {
        at.map_or(self, |at| Self { from: at as usize, to: at as usize + 1 })
    }
}

/// More subsets than those of so many changes are no campaign any more.
const SUBSETS_OF_MAX: usize = 16;

/// Lines of progress of a long campaign, about, and places between two lines of a short one.
const PROGRESS_LINES: usize = 500;
const PROGRESS_PLACES_MIN: usize = 50;

fn progress(done: usize, all: usize) {
    if done > 0 && done.is_multiple_of((all / PROGRESS_LINES).max(PROGRESS_PLACES_MIN)) {
        say(&format!("  at {done} of {all}"));
    }
}

#[derive(Subcommand)]
enum Harness {
    /// Seeded runs of everything a store can do, with restarts and power cuts.
    Model {
        #[command(flatten)]
        seeds: Seeds,
    },
    /// Power loss after every operation of the device, in every way.
    Crash {
        #[command(flatten)]
        seeds: Seeds,
        /// Images tried at each point at most.
        #[arg(long, default_value_t = 24)]
        images: usize,
        /// One in so many recoveries is crashed in its turn.
        #[arg(long, default_value_t = 16)]
        nested_one_in: u64,
        /// Of up to so many pending changes every subset is tried, if there are images enough.
        #[arg(long, default_value_t = 8)]
        subsets: usize,
        /// Only this point of the device's log.
        #[arg(long)]
        at: Option<u64>,
        /// Points of the device's log.
        #[command(flatten)]
        part: Part,
    },
    /// Replicas under a network, disks and clocks that fail.
    Cluster(Histories),
    /// Whole nodes under the same, with real logs and stores.
    Nodes(Histories),
    /// The model of the replication protocol, every step from every state.
    Protocol {
        /// Only this scope.
        #[arg(long)]
        scope: Option<String>,
        /// So much further than a test run: epochs, writes and messages on the way.
        #[arg(long, default_value_t = 0)]
        beyond: u8,
        /// States explored at the same time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Give up after so many states: each takes some 200 bytes.
        #[arg(long)]
        states_max: Option<NonZeroUsize>,
    },
    /// A flipped bit in every byte, zeroed and stale pages.
    Rot {
        #[command(flatten)]
        seeds: Seeds,
        /// Flip one byte in so many; 1 is all of them.
        #[arg(long, default_value_t = 17)]
        stride: usize,
        /// How the store was stopped.
        #[arg(long, value_enum, default_value_t = HowStopped::Closed)]
        stop: HowStopped,
        /// Damages, in the order in which they are tried.
        #[command(flatten)]
        part: Part,
    },
    /// The K-th operation of the device fails, for every K.
    Fault {
        #[command(flatten)]
        seeds: Seeds,
        /// Every so many-th K.
        #[arg(long, default_value_t = 1)]
        stride: usize,
        /// Only this K.
        #[arg(long)]
        at: Option<u64>,
        /// Only this failure.
        #[arg(long, value_enum)]
        failure: Option<HowFailed>,
        /// Ks.
        #[command(flatten)]
        part: Part,
    },
    /// Too little room, for every amount of it.
    Full {
        #[command(flatten)]
        seeds: Seeds,
        /// Bytes between two amounts.
        #[arg(long, default_value_t = 32 << 10)]
        step: usize,
        /// Only this capacity in bytes.
        #[arg(long)]
        at: Option<u64>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum HowStopped {
    Closed,
    Killed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum HowFailed {
    Once,
    FromThen,
    DropDirty,
    NoSpace,
    ShortRead,
    Names,
}

impl From<HowFailed> for Failure {
    fn from(how: HowFailed) -> Self {
        match how {
            HowFailed::Once => Self::Once,
            HowFailed::FromThen => Self::FromThen,
            HowFailed::DropDirty => Self::DropDirty,
            HowFailed::NoSpace => Self::NoSpace,
            HowFailed::ShortRead => Self::ShortRead,
            HowFailed::Names => Self::Names,
        }
    }
}

impl From<HowStopped> for Stop {
    fn from(how: HowStopped) -> Self {
        match how {
            HowStopped::Closed => Self::Closed,
            HowStopped::Killed => Self::Killed,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().harness) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("FAILED {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(harness: Harness) -> anyhow::Result<()> {
    let maker = StoreMaker::default();
    match harness {
        Harness::Model { seeds } => model(&maker, seeds),
        Harness::Crash { seeds, images, nested_one_in, subsets, at, part } => {
            let part = part.with_only(at);
            let (images_per_point, subsets_of_max) = (images, subsets.min(SUBSETS_OF_MAX));
            let (points, usual) = ((part.from, part.to), Effort::usual(seeds.ops));
            let effort = Effort { images_per_point, nested_one_in, subsets_of_max, points, progress, ..usual };
            crashes(&maker, seeds, effort)
        }
        Harness::Cluster(of) => histories("cluster", of, |seed| {
            let report = if of.trace { cluster::trace(seed, None) } else { cluster::run(seed, None) }?;
            Ok((report.writes + report.reads + report.flushes, format!("{report:?}")))
        }),
        Harness::Nodes(of) => histories("nodes", of, |seed| {
            let report = if of.trace { nodes::trace(seed, None) } else { nodes::run(seed, None) }?;
            Ok((report.records + report.reads + report.flushes, format!("{report:?}")))
        }),
        Harness::Protocol { scope, beyond, threads, states_max } => {
            protocols(scope.as_deref(), beyond, threads, states_max)
        }
        Harness::Rot { seeds, stride, stop, part } => rot(&maker, seeds, stride, stop, part),
        Harness::Fault { seeds, stride, at, failure, part } => {
            faults(&maker, seeds, stride, part.with_only(at), failure)
        }
        Harness::Full { seeds, step, at } => full_disks(&maker, seeds, step, at),
    }
}

#[expect(clippy::print_stdout, reason = "this is the command")]
fn say(line: &str) {
    println!("{line}");
}

/// Runs `work` for every seed on a few threads; the first failure by seed is the answer.
fn for_seeds(seeds: Seeds, command: &str, work: impl Fn(u64) -> Result<u64, Violation> + Sync) -> anyhow::Result<u64> {
    let next = AtomicU64::new(seeds.seed);
    let end = seeds.seed + seeds.seeds;
    let total = AtomicU64::new(0);
    let worker = || -> Option<(u64, Violation)> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return None;
            }
            match work(seed) {
                Ok(count) => _ = total.fetch_add(count, Ordering::Relaxed),
                Err(violation) => {
                    next.store(end, Ordering::Relaxed);
                    return Some((seed, violation));
                }
            }
        }
    };
    let failures: Vec<(u64, Violation)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..seeds.threads.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok().flatten()).collect()
    });
    if let Some((seed, violation)) = failures.into_iter().min_by_key(|(seed, _)| *seed) {
        // A harness whose seed decides everything has no number of operations.
        let ops = if seeds.ops > 0 { format!(" --ops {}", seeds.ops) } else { String::new() };
        bail!("seed={seed}\n{violation}\nrepeat with: cargo run --release -p fuzz -- {command} --seed {seed}{ops}");
    }
    Ok(total.into_inner())
}

fn model(maker: &dyn Maker, seeds: Seeds) -> anyhow::Result<()> {
    for_seeds(seeds, "model", |seed| {
        let digest = random::run(maker, None, seed, seeds.ops)?;
        say(&format!("seed={seed} log={digest}"));
        Ok(1)
    })?;
    Ok(())
}

fn crashes(maker: &dyn Maker, seeds: Seeds, effort: Effort) -> anyhow::Result<()> {
    let command = format!(
        "crash --images {} --nested-one-in {} --subsets {}",
        effort.images_per_point, effort.nested_one_in, effort.subsets_of_max
    );
    let states = for_seeds(seeds, &command, |seed| {
        let tried = crash::enumerate(maker, None, seed, effort)?;
        say(&format!("seed={seed} states={} nested={}", tried.states, tried.nested_states));
        Ok(tried.states + tried.nested_states)
    })?;
    say(&format!("{states} states"));
    Ok(())
}

/// Lives through a history for each seed; `live` says how many answers it gave, and what else there is to tell.
fn histories(
    command: &str,
    of: Histories,
    live: impl Fn(u64) -> Result<(u64, String), Violation> + Sync,
) -> anyhow::Result<()> {
    let seeds = Seeds { seed: of.seed, seeds: of.seeds, ops: 0, threads: of.threads };
    let answers = for_seeds(seeds, command, |seed| {
        let (answers, report) = live(seed)?;
        if of.seeds == 1 {
            say(&format!("seed={seed} {report}"));
        }
        Ok(answers)
    })?;
    say(&format!("{} seeds, {answers} answers", of.seeds));
    Ok(())
}

fn protocols(only: Option<&str>, beyond: u8, threads: usize, states_max: Option<NonZeroUsize>) -> anyhow::Result<()> {
    for scope in protocol::Scope::ALL.iter().filter(|scope| only.is_none_or(|name| name == scope.name)) {
        let explored = protocol::explore(scope.beyond(beyond), None, threads, states_max);
        if let Some((what, way)) = explored.broken.first() {
            bail!("scope {}: {what} does not hold after {way}", scope.name);
        }
        let how = if explored.is_complete { "all" } else { "not all: more than was allowed" };
        say(&format!("{}: {how}, {} states, depth {}", scope.name, explored.states, explored.depth));
    }
    Ok(())
}

fn rot(maker: &dyn Maker, seeds: Seeds, stride: usize, stop: HowStopped, part: Part) -> anyhow::Result<()> {
    let command = format!("rot --stride {stride} --stop {stop:?}").to_lowercase();
    let damages = for_seeds(seeds, &command, |seed| {
        let golden = Golden::make(maker, seed, seeds.ops, stop.into())?;
        let mut tally = Tally::default();
        let damages = golden.damages(stride, seed);
        for (index, damage) in damages.iter().enumerate().take(part.to).skip(part.from) {
            progress(index, damages.len());
            let noticed = golden.try_damage(maker, damage)?;
            tally.add(&golden, damage, noticed);
        }
        report_rot(seed, &golden, &tally);
        Ok(tally.by_file.values().sum())
    })?;
    say(&format!("{damages} damages"));
    Ok(())
}

fn report_rot(seed: u64, golden: &Golden, tally: &Tally) {
    say(&format!("seed={seed}: {} bytes", golden.len_bytes()));
    for ((file, noticed), count) in &tally.by_file {
        say(&format!("  {file:<12} {noticed:?} {count}"));
    }
    for damage in tally.unnoticed.iter().take(20) {
        let (Damage::Flip(path, at, _) | Damage::Zeros(path, at) | Damage::Stale(path, at)) = damage;
        say(&format!("  unnoticed though not zero: {path} at {at}"));
    }
}

fn faults(maker: &dyn Maker, seeds: Seeds, stride: usize, part: Part, only: Option<HowFailed>) -> anyhow::Result<()> {
    let runs = for_seeds(seeds, "fault", |seed| {
        let mut runs = 0;
        for how in HowFailed::value_variants().iter().filter(|how| only.is_none_or(|only| only == **how)) {
            let failure = Failure::from(*how);
            let count = fault::count_places(maker, seed, seeds.ops, failure)?;
            let first = (part.from as u64).max(1 + SeededRng::new(seed).below(stride as u64));
            for k in (first..(count + 1).min(part.to as u64)).step_by(stride) {
                progress(k as usize, count as usize);
                fault::run(maker, None, seed, seeds.ops, k, failure).map_err(|Violation(why)| {
                    Violation(format!("{failure:?} at {k} (--failure {how:?} --at {k}): {why}"))
                })?;
                runs += 1;
            }
        }
        say(&format!("seed={seed} runs={runs}"));
        Ok(runs)
    })?;
    say(&format!("{runs} runs"));
    Ok(())
}

fn full_disks(maker: &dyn Maker, seeds: Seeds, step: usize, at: Option<u64>) -> anyhow::Result<()> {
    let runs = for_seeds(seeds, "full", |seed| {
        let (least, most) = full::range(maker, seed, seeds.ops)?;
        let (mut runs, mut refused) = (0, 0);
        let sweep = (least..=most).chain(least + full::RESERVE_BYTES..=most + full::RESERVE_BYTES);
        let capacities: Vec<u64> = at.map_or_else(|| sweep.step_by(step).collect(), |at| vec![at]);
        for capacity in capacities {
            refused += full::run(maker, None, seed, seeds.ops, capacity).map_err(|Violation(why)| {
                Violation(format!("capacity of {capacity} bytes (--at {capacity}): {why}"))
            })?;
            runs += 1;
        }
        say(&format!("seed={seed} capacities={least}..={most} runs={runs} refused={refused}"));
        Ok(runs)
    })?;
    say(&format!("{runs} runs"));
    Ok(())
}
