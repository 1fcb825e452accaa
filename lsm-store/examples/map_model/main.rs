//! Measures the map by itself: how much it writes for random overwrites of a full volume, and how fast it answers.
//!
//! Times are processor time. With snapshots, that many are taken at even distances while the volume is overwritten, and all
//! are kept; with clones instead, each is cloned and left, so that the last head lies at the end of a chain of clones.
//!
//! `cargo run --release -p lsm-store --example map_model -- [GiB] [percent overwritten] [fan-out] [run KiB] [level 1 KiB]
//! [snapshots] [1 for clones]`
#![expect(clippy::print_stdout, reason = "this is a command")]

mod layers;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use layers::Layers;
use lsm_store::clock::SystemClock;
use lsm_store::id::{BlockIndex, LayerId, Location, RunId, SegmentId, Slot, StoreId};
use lsm_store::layers::Lineage;
use lsm_store::map::cache::PAGE_BYTES;
use lsm_store::map::compaction::MergeContext;
use lsm_store::map::{
    Edit, Graveyard, PageCache, PageKey, Policy, RunFiles, RunLimits, RunWriter, Stretch, Target, Version, debt,
    execute, plan,
};
use lsm_store::rng::SeededRng;
use memory::MemoryDevice;

/// Blocks of a flush job: 64 MiB.
const FLUSH_BLOCKS: u64 = 16_384;
const SLOTS: u64 = 8192;

/// What this thread has used of a processor: other than time, it does not depend on who else is at work.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let used = text.split(' ').next().and_then(|used| used.parse().ok()).expect("the first field is in nanoseconds");
    Duration::from_nanos(used)
}

struct Pages(quick_cache::sync::Cache<PageKey, Arc<[u8; PAGE_BYTES]>>);

impl PageCache for Pages {
    fn lookup(&self, key: PageKey) -> Option<Arc<[u8; PAGE_BYTES]>> {
        self.0.get(&key)
    }

    fn insert(&self, key: PageKey, page: Arc<[u8; PAGE_BYTES]>) {
        self.0.insert(key, page);
    }
}

struct Model {
    rng: SeededRng,
    layers: Layers,
    device: Arc<MemoryDevice>,
    files: Arc<RunFiles>,
    version: Version,
    graveyard: Graveyard,
    policy: Policy,
    next_run: u64,
    next_segment: u32,
    blocks: u64,
    compacted_bytes: Vec<u64>,
    flush_time: Duration,
    compaction_time: Duration,
    compaction_longest: Duration,
    debt_max: u64,
    depth_sum: u64,
}

fn stretch(layer: LayerId, block: u64, segment: u32, slot: u64) -> Stretch {
    let target = Target::Data(Location { segment: SegmentId(segment), slot: Slot(slot as u16) });
    Stretch { family: layers::FAMILY, layer, first: BlockIndex(block), count: 1, target }
}

impl Model {
    fn new(blocks: u64, policy: Policy, layers: Layers) -> Self {
        let device = Arc::new(MemoryDevice::default());
        let pages = Arc::new(Pages(quick_cache::sync::Cache::new(1 << 20)));
        let limits = RunLimits { handles: 256, index_bytes: 64 << 20, filter_bytes: 256 << 20 };
        let clock = Arc::new(SystemClock::new());
        Self {
            rng: SeededRng::new(1),
            layers,
            files: RunFiles::new(device.clone(), StoreId([1; 16]), clock, pages, limits),
            device,
            version: Version::default(),
            graveyard: Graveyard::default(),
            policy,
            next_run: 1,
            next_segment: 0,
            blocks,
            compacted_bytes: vec![0; 9],
            flush_time: Duration::ZERO,
            compaction_time: Duration::ZERO,
            compaction_longest: Duration::ZERO,
            debt_max: 0,
            depth_sum: 0,
        }
    }

    fn run_id(&mut self) -> RunId {
        self.next_run += 1;
        RunId(self.next_run - 1)
    }

    fn edit(&mut self, edit: &Edit) {
        let new = self.version.apply(edit);
        self.graveyard.bury(&self.version, edit);
        self.version = new;
        for id in self.graveyard.take_unread() {
            self.files.delete(id).expect("memory does not fail");
        }
    }

    /// Maps every block to a random place, in the level where that much belongs.
    fn fill(&mut self) {
        let segments = (self.blocks / SLOTS).max(1);
        let bytes = self.blocks * 39 / 10;
        let level =
            (1..8).find(|level| self.policy.level1_bytes * self.policy.fan_out.pow(level - 1) >= bytes).unwrap_or(7);
        let (mut block, mut added) = (0, Vec::new());
        while block < self.blocks {
            let id = self.run_id();
            let mut writer = RunWriter::create(&self.files, id, level as u8, false).expect("memory does not fail");
            while block < self.blocks && writer.pages_bytes() < self.policy.run_bytes {
                let place = self.rng.below(segments * SLOTS);
                let next = stretch(self.layers.head(), block, (place / SLOTS) as u32, place % SLOTS);
                writer.push(next).expect("memory does not fail");
                block += 1;
            }
            added.push((level as u8, writer.finish().expect("memory does not fail")));
        }
        self.next_segment = segments as u32;
        self.edit(&Edit { removed: Vec::new(), added });
    }

    fn flush(&mut self) {
        let write = |_| (self.rng.below(self.blocks), std::cmp::Reverse(self.layers.write(&self.rng)));
        let mut blocks: Vec<_> = (0..FLUSH_BLOCKS).map(write).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let start = cpu_time();
        let id = self.run_id();
        let mut writer = RunWriter::create(&self.files, id, 0, true).expect("memory does not fail");
        for (at, (block, layer)) in (0..).zip(&blocks) {
            let next = stretch(layer.0, *block, self.next_segment + (at / SLOTS) as u32, at % SLOTS);
            writer.push(next).expect("memory does not fail");
        }
        let run = writer.finish().expect("memory does not fail");
        self.flush_time += cpu_time() - start;
        self.next_segment += 2;
        self.edit(&Edit::flushed(run));
    }

    fn compact(&mut self) {
        while let Some(plan) = plan(&self.version, &self.policy) {
            let start = cpu_time();
            let before = self.device.written_bytes();
            let mut next_run = self.next_run;
            let mut next_run_id = || {
                next_run += 1;
                RunId(next_run - 1)
            };
            let visibility = self.layers.visibility();
            let mut context =
                MergeContext { files: &self.files, next_run_id: &mut next_run_id, visibility: &visibility };
            let edit = execute(&plan, &self.version, &mut context).expect("memory does not fail");
            self.next_run = next_run;
            let took = cpu_time() - start;
            self.compaction_time += took;
            self.compaction_longest = self.compaction_longest.max(took);
            self.compacted_bytes[usize::from(plan.from_level) + 1] += self.device.written_bytes() - before;
            self.edit(&edit);
        }
    }

    fn overwrite(&mut self, flushes: u64) {
        let before = self.device.written_bytes();
        for _ in 0..flushes {
            self.flush();
            self.debt_max = self.debt_max.max(debt(&self.version, &self.policy));
            self.compact();
            let level0 = self.version.runs().filter(|(level, _)| *level == 0).count();
            let deeper: std::collections::BTreeSet<_> = self.version.runs().map(|(level, _)| level.max(1)).collect();
            self.depth_sum += (level0 + deeper.len()) as u64;
        }
        let writes = flushes * FLUSH_BLOCKS;
        let written = self.device.written_bytes() - before;
        let percent = |bytes: u64| bytes as f64 * 100.0 / (writes * 4096) as f64;
        let per_write = |time: Duration| time.as_nanos() as f64 / writes as f64;
        println!(
            "written for the map         {:.2} % ({:.1} bytes per 4096)",
            percent(written),
            percent(written) * 40.96
        );
        for (level, bytes) in self.compacted_bytes.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
            println!("  into level {level}              {:.2} %", percent(*bytes));
        }
        println!("flush, ns per write         {:.0}", per_write(self.flush_time));
        println!("compaction, ns per write    {:.0}", per_write(self.compaction_time));
        println!("longest compaction, ms      {}", self.compaction_longest.as_millis());
        println!("largest debt, KiB           {}", self.debt_max >> 10);
        println!("runs per lookup at most     {:.1} on average", self.depth_sum as f64 / flushes as f64);
    }

    /// Nanoseconds of `work`, called `times` times with random blocks, on average; the second round counts.
    fn time(&self, times: u64, work: impl Fn(u64)) -> f64 {
        let round = |seed| {
            let rng = SeededRng::new(seed);
            let start = cpu_time();
            (0..times).for_each(|_| work(rng.below(self.blocks - 256)));
            (cpu_time() - start).as_nanos() as f64 / times as f64
        };
        round(7);
        round(7)
    }

    fn answers(&self) {
        for (reader, lineage) in self.layers.readers() {
            self.lookups(&reader, &lineage);
        }
        let head = self.layers.lineage(self.layers.head());
        let start = cpu_time();
        let scan = self.version.scan_all(&head);
        let scanned = scan.map(|stretch| stretch.expect("memory does not fail").count).sum::<u64>();
        let took = cpu_time() - start;
        println!("scan, ns per block          {:.1}", took.as_nanos() as f64 / scanned as f64);
        let visibility = self.layers.visibility();
        let start = cpu_time();
        let visible = self.version.scan_visible(&visibility);
        let entries = visible.inspect(|stretch| assert!(stretch.is_ok(), "memory does not fail")).count();
        let took = cpu_time() - start;
        println!("scan of all, ns per entry   {:.1} ({entries} entries)", took.as_nanos() as f64 / entries as f64);
    }

    fn lookups(&self, reader: &str, lineage: &Lineage) {
        let find =
            |block| assert!(self.version.find(lineage, BlockIndex(block)).expect("memory does not fail").is_some());
        println!("{reader}: lookup of a block, ns       {:.0}", self.time(200_000, find));
        for count in [4, 256] {
            let lookup = |block| {
                let range = BlockIndex(block)..BlockIndex(block + count);
                assert!(!self.version.lookup(lineage, range).expect("memory does not fail").is_empty());
            };
            println!("{reader}: lookup of {count:>3} blocks, ns     {:.0}", self.time(20_000, lookup));
        }
        let start = cpu_time();
        let head = self.layers.lineage(self.layers.head());
        let diff = self.version.diff(lineage, &head, BlockIndex(0)..BlockIndex(u64::MAX)).expect("of one family");
        let blocks: u64 =
            diff.map(|range| range.expect("memory does not fail")).map(|range| range.end.0 - range.start.0).sum();
        println!("{reader}: difference to the head, ms  {} ({blocks} blocks)", (cpu_time() - start).as_millis());
    }

    fn shape(&self) {
        for level in 0..self.version.depth() as u8 {
            let metas: Vec<_> = self.version.metas().into_iter().filter(|meta| meta.level == level).collect();
            let (bytes, entries): (u64, u64) =
                metas.iter().fold((0, 0), |sum, meta| (sum.0 + meta.bytes, sum.1 + meta.entries));
            println!(
                "level {level}: {} runs, {} KiB, {} entries, {:.2} bytes an entry",
                metas.len(),
                bytes >> 10,
                entries,
                bytes as f64 / entries.max(1) as f64
            );
        }
        println!("filters, KiB                {}", self.files.filter_bytes() >> 10);
    }
}

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|argument| argument.parse().expect("a number")).collect();
    let argument = |at: usize, default| arguments.get(at).copied().unwrap_or(default);
    let blocks = argument(0, 16) << 18;
    let policy = Policy {
        fan_out: argument(2, Policy::default().fan_out),
        run_bytes: argument(3, Policy::default().run_bytes >> 10) << 10,
        level1_bytes: argument(4, Policy::default().level1_bytes >> 10) << 10,
        ..Policy::default()
    };
    let flushes = blocks * argument(1, 50) / 100 / FLUSH_BLOCKS;
    let layers = Layers::new(flushes * FLUSH_BLOCKS, argument(5, 0), argument(6, 0) == 1);
    let mut model = Model::new(blocks, policy, layers);
    let start = cpu_time();
    model.fill();
    let fill = cpu_time() - start;
    println!("writing the base, ns per entry {:.0}", fill.as_nanos() as f64 / blocks as f64);
    model.overwrite(flushes);
    model.shape();
    model.answers();
}
