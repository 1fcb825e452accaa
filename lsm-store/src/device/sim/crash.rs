//! What a power cut can leave behind: choices among the changes that were pending at one moment.

use super::change::{Change, Verdict, keep_foundations, lose_orphans};
use super::disk::Disk;
use super::fault::Faults;
use super::{SimDevice, SimOptions};
use crate::rng::SeededRng;

/// Which pending changes survive. Changes are numbered from 0 in the order they were made.
///
/// Renames, creations and removals of the same name or file survive in order: one that builds on a lost one is lost too.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CrashChoice {
    /// Only what was synced.
    Nothing,
    /// All of them.
    Everything,
    /// The first so many.
    Prefix(usize),
    /// All but one (and names that build on it).
    Missing(usize),
    /// One (and names that it builds on).
    Alone(usize),
    /// Those whose bit is set; change `i` is bit `i % 64` of word `i / 64`, missing words are zero.
    Subset(Vec<u64>),
    /// Each by the toss of a coin.
    Random(u64),
    /// Those before a write, and the first so many of its sectors.
    TornAt {
        /// The write.
        change: usize,
        /// Sectors of 512 bytes that survive.
        sectors: usize,
    },
    /// Those before a write, and each of its sectors by the toss of a coin.
    TornRandomly {
        /// The write.
        change: usize,
        /// What the coin depends on.
        seed: u64,
    },
    /// Every sector of every write, and every other change, by the toss of a coin.
    RandomSectors(u64),
}

/// A moment at which the power may fail.
#[derive(Clone)]
pub struct CrashPoint {
    disk: Disk,
    options: SimOptions,
}

impl CrashPoint {
    /// The moment when the disk is `disk`. What becomes of files without a name is of no interest.
    pub(super) fn new(mut disk: Disk, options: SimOptions) -> Self {
        disk.collect(|_| false);
        Self { disk, options }
    }

    /// How many changes are pending.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.disk.pending().len()
    }

    /// A fresh device that holds what survived: no faults, no locks, nothing pending.
    #[must_use]
    pub fn image(&self, choice: &CrashChoice) -> SimDevice {
        self.device(self.disk.after_crash(&verdicts(self.disk.pending(), choice)))
    }

    /// A fresh device after `kill -9` instead of a power cut: everything written is there, and still pending.
    #[must_use]
    pub fn process_death(&self) -> SimDevice {
        self.device(self.disk.clone())
    }

    fn device(&self, disk: Disk) -> SimDevice {
        SimDevice::over(disk, SimOptions { faults: Faults::none(), ..self.options.clone() })
    }

    /// Choices worth trying: nothing, everything, every prefix, each missing, each alone, writes torn in three ways, and
    /// random ones by `seed`. If that is more than `at_most`, a random selection that keeps the first two.
    #[must_use]
    pub fn choices(&self, seed: u64, at_most: usize) -> Vec<CrashChoice> {
        let mut choices = vec![CrashChoice::Nothing];
        if self.pending_count() > 0 {
            choices.push(CrashChoice::Everything);
            choices.extend(self.systematic_choices(seed));
            choices.extend((0..8).map(|n| CrashChoice::Random(seed.wrapping_add(n))));
            choices.extend((0..8).map(|n| CrashChoice::RandomSectors(seed.wrapping_add(n))));
        }
        let rng = SeededRng::new(seed);
        while choices.len() > at_most.max(2) {
            let victim = 2 + below(&rng, choices.len() - 2);
            choices.swap_remove(victim);
        }
        choices
    }

    fn systematic_choices(&self, seed: u64) -> Vec<CrashChoice> {
        let mut choices = Vec::new();
        for (change, pending) in self.disk.pending().iter().enumerate() {
            if change > 0 {
                choices.push(CrashChoice::Prefix(change));
                choices.push(CrashChoice::Alone(change));
            }
            choices.push(CrashChoice::Missing(change));
            let sectors = pending.sector_count();
            if sectors > 1 {
                choices.push(CrashChoice::TornAt { change, sectors: 1 });
                choices.push(CrashChoice::TornAt { change, sectors: sectors - 1 });
                choices.push(CrashChoice::TornRandomly { change, seed });
            }
        }
        choices
    }

    /// Every image of [`CrashPoint::choices`].
    pub fn images(self, seed: u64, at_most: usize) -> impl Iterator<Item = (CrashChoice, SimDevice)> {
        self.choices(seed, at_most).into_iter().map(move |choice| {
            let image = self.image(&choice);
            (choice, image)
        })
    }
}

/// What `choice` says about each change.
pub(super) fn verdicts(pending: &[Change], choice: &CrashChoice) -> Vec<Verdict> {
    let kept = |keeps: &dyn Fn(usize) -> bool| -> Vec<Verdict> {
        (0..pending.len()).map(|index| if keeps(index) { Verdict::Kept } else { Verdict::Lost }).collect()
    };
    let mut verdicts = match choice {
        CrashChoice::Nothing => kept(&|_| false),
        CrashChoice::Everything => kept(&|_| true),
        CrashChoice::Prefix(count) => kept(&|index| index < *count),
        CrashChoice::Missing(missing) => kept(&|index| index != *missing),
        CrashChoice::Alone(alone) => kept(&|index| index == *alone),
        CrashChoice::Subset(words) => {
            kept(&|index| words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1))
        }
        CrashChoice::Random(seed) => {
            let rng = SeededRng::new(*seed);
            kept(&|_| coin(&rng))
        }
        CrashChoice::TornAt { change, .. } | CrashChoice::TornRandomly { change, .. } => kept(&|index| index < *change),
        CrashChoice::RandomSectors(seed) => {
            let rng = SeededRng::new(*seed);
            pending.iter().map(|change| toss_sectors(change, &rng)).collect()
        }
    };
    tear(pending, choice, &mut verdicts);
    if matches!(choice, CrashChoice::Alone(_)) {
        keep_foundations(pending, &mut verdicts);
    } else {
        lose_orphans(pending, &mut verdicts);
    }
    verdicts
}

fn tear(pending: &[Change], choice: &CrashChoice, verdicts: &mut [Verdict]) {
    match choice {
        CrashChoice::TornAt { change, sectors } => {
            let survivors = (0..pending[*change].sector_count()).map(|index| index < *sectors).collect();
            verdicts[*change] = Verdict::Torn(survivors);
        }
        CrashChoice::TornRandomly { change, seed } => {
            let rng = SeededRng::new(*seed);
            verdicts[*change] = toss_sectors(&pending[*change], &rng);
        }
        _ => {}
    }
}

fn toss_sectors(change: &Change, rng: &SeededRng) -> Verdict {
    match change {
        Change::Data { .. } => Verdict::Torn((0..change.sector_count()).map(|_| coin(rng)).collect()),
        _ if coin(rng) => Verdict::Kept,
        _ => Verdict::Lost,
    }
}

fn coin(rng: &SeededRng) -> bool {
    rng.below(2) == 1
}

fn below(rng: &SeededRng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("a number below a usize")
}
