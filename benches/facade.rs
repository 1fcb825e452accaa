//! What the facade adds to the engine: the same random reads and writes through [`siltstone::Volume`] and through the engine's
//! own volume, of two stores with the same content, in turn.
//!
//! Times are of the calling thread's processor: other than those of a clock they depend little on who else is at work. Reads are
//! of segments: one that blocks keeps nothing in the cache. With `--only` one side does one thing, to be
//! counted by another program (`tools/bench-facade`).
#![expect(clippy::print_stdout, reason = "this is a command")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use siltstone::store::clock::{Clock, SystemClock};
use siltstone::store::device::AccessMode;
use siltstone::store::device::directory::DirectoryDevice;
use siltstone::store::request::Write;
use siltstone::store::rng::{SeededRng, SystemRng};
use siltstone::store::store::Budget;
use siltstone::store::{self as engine, Environment, Settings, VolumeSpec};
use siltstone::{Codec, Options, VolumeOptions};

const BLOCK: usize = 4096;
const MEMORY_BYTES: u64 = 512 << 20;

/// Measures the facade against the engine.
#[derive(Parser)]
struct Arguments {
    /// Where the two stores are made: an empty directory.
    directory: PathBuf,
    /// A file with what is written, in blocks of 4 KiB.
    content: PathBuf,
    /// Size of each volume, which is filled.
    #[arg(long, default_value_t = 64)]
    size_mib: u64,
    /// Operations of one side before the other one's turn.
    #[arg(long, default_value_t = 2000)]
    batch: u64,
    /// How often both have their turn.
    #[arg(long, default_value_t = 50)]
    pairs: u64,
    /// One side alone, and one batch of one case.
    #[arg(long, requires = "case")]
    only: Option<Side>,
    /// The case of `--only`.
    #[arg(long)]
    case: Option<Case>,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    Engine,
    Facade,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    Read4k,
    Read64k,
    Write4k,
    Write64k,
}

impl Case {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn is_read(self) -> bool {
        matches!(self, Self::Read4k | Self::Read64k)
    }

    fn blocks(self) -> u64 {
        match self {
            Self::Read4k | Self::Write4k => 1,
            Self::Read64k | Self::Write64k => 16,
        }
    }
}

/// What a batch does: where, in bytes, and for a write what.
struct Batch {
    offsets: Vec<u64>,
    data: Vec<u8>,
}

/// Blocks of real files, each with eight bytes that no other has, so that nothing is a duplicate.
struct Blocks {
    content: Vec<u8>,
    next: u64,
}

impl Blocks {
    fn fill(&mut self, data: &mut [u8]) {
        for block in data.chunks_mut(BLOCK) {
            let at = self.next as usize * BLOCK % self.content.len();
            block.copy_from_slice(&self.content[at..at + BLOCK]);
            block[BLOCK / 2..BLOCK / 2 + 8].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
    }
}

struct Bench {
    engine: engine::Volume,
    facade: siltstone::Volume,
    blocks: Blocks,
    rng: SeededRng,
    size_bytes: u64,
    clock: SystemClock,
}

impl Bench {
    fn batch(&mut self, case: Case, operations: u64) -> Batch {
        let len = case.blocks() * BLOCK as u64;
        let offsets = (0..operations).map(|_| self.rng.next_u64() % (self.size_bytes / len) * len).collect();
        let mut data = vec![0; if case.is_read() { len } else { len * operations } as usize];
        if !case.is_read() {
            self.blocks.fill(&mut data);
        }
        Batch { offsets, data }
    }

    fn run(&self, side: Side, case: Case, batch: &mut Batch) -> Result<()> {
        match (side, case.is_read()) {
            (Side::Engine, true) => engine_reads(&self.engine, batch),
            (Side::Engine, false) => engine_writes(&self.engine, batch),
            (Side::Facade, true) => facade_reads(&self.facade, batch),
            (Side::Facade, false) => facade_writes(&self.facade, batch),
        }
    }

    /// Nanoseconds of processor and of time.
    fn measure(&self, side: Side, case: Case, batch: &mut Batch) -> Result<(u64, u64)> {
        let (spent, started) = (spent_ns(), self.clock.monotonic());
        self.run(side, case, batch)?;
        let time = self.clock.monotonic().saturating_sub(started);
        Ok((spent_ns() - spent, time.as_nanos() as u64))
    }

    fn fill(&mut self) -> Result<()> {
        let mut data = vec![0; 1 << 20];
        for offset in (0..self.size_bytes).step_by(data.len()) {
            self.blocks.fill(&mut data);
            self.engine.write(&[Write { offset, data: &data }])?;
            self.facade.write_at(offset, &data)?;
        }
        Ok(())
    }

    fn pair(&mut self, case: Case, operations: u64, first: Side) -> Result<[(u64, u64); 2]> {
        let mut batch = self.batch(case, operations);
        let second = if first == Side::Engine { Side::Facade } else { Side::Engine };
        let (one, other) = (self.measure(first, case, &mut batch)?, self.measure(second, case, &mut batch)?);
        Ok(if first == Side::Engine { [one, other] } else { [other, one] })
    }
}

#[inline(never)]
fn engine_reads(volume: &engine::Volume, batch: &mut Batch) -> Result<()> {
    for &offset in &batch.offsets {
        volume.read(offset, batch.data.len())?.copy_to(&mut batch.data);
        black_box(&batch.data);
    }
    Ok(())
}

#[inline(never)]
fn facade_reads(volume: &siltstone::Volume, batch: &mut Batch) -> Result<()> {
    for &offset in &batch.offsets {
        volume.read_at(offset, &mut batch.data)?;
        black_box(&batch.data);
    }
    Ok(())
}

#[inline(never)]
fn engine_writes(volume: &engine::Volume, batch: &mut Batch) -> Result<()> {
    let len = batch.data.len() / batch.offsets.len();
    for (&offset, data) in batch.offsets.iter().zip(batch.data.chunks(len)) {
        volume.write(&[Write { offset, data }])?;
    }
    Ok(())
}

#[inline(never)]
fn facade_writes(volume: &siltstone::Volume, batch: &mut Batch) -> Result<()> {
    let len = batch.data.len() / batch.offsets.len();
    for (&offset, data) in batch.offsets.iter().zip(batch.data.chunks(len)) {
        volume.write_at(offset, data)?;
    }
    Ok(())
}

/// What this thread has used of a processor, in nanoseconds.
fn spent_ns() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as u64 * 1_000_000_000 + spent.tv_nsec as u64
}

struct Stores {
    engine: Arc<engine::Store>,
    facade: siltstone::Store,
}

impl Stores {
    /// Opens both; makes them, with their volumes, if there are none.
    fn open(dir: &Path, size_bytes: u64) -> Result<Self> {
        let dirs = ["engine", "facade"].map(|side| dir.join(side));
        let is_new = !dirs[0].exists();
        let facade = Options::new().memory_bytes(MEMORY_BYTES).open_or_create(&dirs[1])?;
        fs::create_dir_all(&dirs[0])?;
        let device = Arc::new(DirectoryDevice::open(&dirs[0], AccessMode::ReadWrite)?);
        let environment = Environment { device, clock: Arc::new(SystemClock::new()), rng: Arc::new(SystemRng) };
        if is_new {
            engine::Store::create(&environment, Settings::default())?;
        }
        let options = engine::Options { budget: Budget::new(MEMORY_BYTES)?, ..engine::Options::default() };
        let engine = engine::Store::open(environment, options)?;
        if is_new {
            engine.create_volume(VolumeSpec { size_bytes, codec: Codec::default() }, |_| Vec::new())?;
            facade.create_volume("bench", &VolumeOptions::new(size_bytes))?;
        }
        Ok(Self { engine, facade })
    }

    fn bench(&self, content: Vec<u8>) -> Result<Bench> {
        let volume = self.engine.volumes().first().context("the engine has a volume")?.id;
        let (engine, facade) = (self.engine.volume(volume)?, self.facade.volume("bench")?);
        let size_bytes = facade.size_bytes();
        let blocks = Blocks { content, next: 0 };
        Ok(Bench { engine, facade, blocks, rng: SeededRng::new(1), size_bytes, clock: SystemClock::new() })
    }

    fn close(&self) -> Result<()> {
        self.facade.close()?;
        Ok(self.engine.close()?)
    }
}

/// Makes both stores and closes them, so that all is in segments.
fn fill(arguments: &Arguments, content: Vec<u8>) -> Result<Blocks> {
    let stores = Stores::open(&arguments.directory, arguments.size_mib << 20)?;
    let mut bench = stores.bench(content)?;
    bench.fill()?;
    let Bench { blocks, engine, facade, .. } = bench;
    drop((engine, facade));
    stores.close()?;
    Ok(blocks)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut content = fs::read(&arguments.content).with_context(|| arguments.content.display().to_string())?;
    content.truncate(content.len() / BLOCK * BLOCK);
    anyhow::ensure!(!content.is_empty(), "{} holds less than a block", arguments.content.display());
    let blocks = fill(&arguments, content)?;
    let stores = Stores::open(&arguments.directory, arguments.size_mib << 20)?;
    let mut bench = Bench { blocks, ..stores.bench(Vec::new())? };
    match (arguments.only, arguments.case) {
        (Some(side), Some(case)) => {
            let mut batch = bench.batch(case, arguments.batch);
            bench.run(side, case, &mut batch)?;
        }
        _ => compare(&mut bench, &arguments)?,
    }
    drop(bench);
    stores.close()
}

/// Prints for each pair: the case, and in nanoseconds an operation the engine's processor and time, and the facade's.
fn compare(bench: &mut Bench, arguments: &Arguments) -> Result<()> {
    // Reads come before writes, which are in memory at first.
    for &case in Case::value_variants() {
        for pair in 0..arguments.pairs {
            let operations = (arguments.batch / case.blocks()).max(1);
            let first = if pair % 2 == 0 { Side::Engine } else { Side::Facade };
            let each = |(spent, time): (u64, u64)| format!("{}\t{}", spent / operations, time / operations);
            let [engine, facade] = bench.pair(case, operations, first)?.map(each);
            println!("{}\t{engine}\t{facade}", case.name());
        }
    }
    Ok(())
}
