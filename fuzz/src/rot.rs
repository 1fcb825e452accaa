//! Rot: one bit of a small store flips, or one of its 4 KiB pages becomes zeros or what it was before, for every place.
//!
//! Whatever is read must be the right bytes or a clean error, never a panic; and what a reader would stumble over, the
//! store's own check must find first.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};

use lsm_store::device::sim::{CrashPoint, SimDevice};
use lsm_store::device::{Access, Device};
use lsm_store::rng::SeededRng;
use lsm_store::{Error, ErrorKind};

use crate::crash::guarded;
use crate::machine::{SimMachine, read_file};
use crate::model::{StoreImage, StoreModel, Survives, Violation};
use crate::random::explain;
use crate::runner::{Machine, Runner, Tolerance, chain};
use crate::system::{Maker, System, read_back};
use crate::workload::{Operation, Profile, generate};

const PAGE: usize = 4096;

/// A sound store to damage.
pub struct Golden {
    disk: CrashPoint,
    files: BTreeMap<String, Vec<u8>>,
    earlier: BTreeMap<String, Vec<u8>>,
    model: StoreModel,
    image: StoreImage,
}

/// How the golden store was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Cleanly: nothing is in the journal.
    Closed,
    /// By the death of its process, after a flush: much is in the journal.
    Killed,
}

/// One damage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    /// One bit of the byte at this place of this file is flipped.
    Flip(String, usize, u8),
    /// The page at this place is zeros.
    Zeros(String, usize),
    /// The page at this place is what it was in the middle of the workload.
    Stale(String, usize),
}

/// What became of a damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Noticed {
    /// The page was the same before: nothing was damaged.
    Same,
    /// The store did not open.
    AtOpen,
    /// A read failed.
    AtRead,
    /// Everything was read, and the check found the damage.
    ByCheck,
    /// Everything was read, and nobody noticed.
    Never,
}

impl Golden {
    /// Makes the golden store of `seed`.
    pub fn make(maker: &dyn Maker, seed: u64, operations: usize, stop: Stop) -> Result<Self, Violation> {
        let runner = Runner::create(maker, SimMachine::new(seed, None), Tolerance::Nothing);
        let mut runner = runner.map_err(|error| Violation(format!("creating the store failed: {}", chain(&error))))?;
        let profile = Profile { blocks_max: 96, write_bytes_max: 64 << 10, ..Profile::SMALL };
        let workload = generate(seed, operations, profile);
        let mut earlier = BTreeMap::new();
        for (index, operation) in workload.iter().enumerate() {
            runner.apply(operation).map_err(|violation| explain(&runner, index, &violation))?;
            if index == operations / 2 {
                earlier = read_files(runner.machine_mut().disk())?;
            }
        }
        let ending = match stop {
            Stop::Closed => Operation::Reopen,
            // An idle journal gets a mark that names its last synced batch: damage there is no crash tail then.
            Stop::Killed => Operation::Step { count: 200 },
        };
        let flushes = (0..4).map(|volume| Operation::Flush { volume });
        runner.run(&flushes.chain([ending]).collect::<Vec<_>>())?;
        runner.kill();
        let (machine, model) = runner.into_machine();
        let disk = machine.disk().crash_point();
        let files = read_files(machine.disk())?;
        let opened = maker.open(&SimMachine::on(disk.process_death(), None).device());
        let opened = opened.and_then(|system| read_back(&*system, &model));
        let image = opened.map_err(|error| Violation(format!("the golden store does not open: {}", chain(&error))))?;
        model.admits(&image, Survives::Answered)?;
        Ok(Self { disk, files, earlier, model, image })
    }

    /// Its files.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// What it holds.
    #[must_use]
    pub fn model(&self) -> &StoreModel {
        &self.model
    }

    /// The store with one file replaced.
    ///
    /// # Errors
    /// If the harness cannot write its disk.
    pub fn with_file(&self, path: &str, bytes: &[u8]) -> Result<SimMachine, Violation> {
        let disk = self.disk.process_death();
        let replace = || -> io::Result<()> {
            let file = disk.open(path, Access::Buffered)?;
            file.set_len(bytes.len() as u64)?;
            file.write_at(&[IoSlice::new(bytes)], 0)?;
            file.sync_data()
        };
        replace().map_err(|error| Violation(format!("the harness cannot do damage: {error}")))?;
        Ok(SimMachine::on(disk, None))
    }

    /// Opens and reads a damaged store: the right bytes, or an error.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn right_or_error(&self, maker: &dyn Maker, machine: &SimMachine) -> Result<(), Violation> {
        self.open_and_read(maker, machine).map(|_| ())
    }

    /// Size of all files in bytes.
    pub fn len_bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// One bit of every `stride`-th byte of every file, of sixteen times as many in its first page; every page zeroed, and stale.
    pub fn damages(&self, stride: usize, seed: u64) -> Vec<Damage> {
        let dice = SeededRng::new(seed);
        let mut damages = Vec::new();
        for (path, bytes) in &self.files {
            let len = bytes.len();
            let header = 0..len.min(PAGE);
            let body = (PAGE..len).step_by(stride);
            let every = (stride / 16).max(1);
            let places =
                header.step_by(every).chain(body.map(|at| (at + dice.below(stride as u64) as usize).min(len - 1)));
            damages.extend(places.map(|at| Damage::Flip(path.clone(), at, dice.below(8) as u8)));
            damages.extend((0..len).step_by(PAGE).map(|at| Damage::Zeros(path.clone(), at)));
            damages.extend((0..len).step_by(PAGE).map(|at| Damage::Stale(path.clone(), at)));
        }
        damages
    }

    /// Damages the store, opens it, reads everything and checks it.
    pub fn try_damage(&self, maker: &dyn Maker, damage: &Damage) -> Result<Noticed, Violation> {
        guarded(|| {
            let (Some(disk), Some(again)) = (self.damaged(damage)?, self.damaged(damage)?) else {
                return Ok(Noticed::Same);
            };
            let stumbled = self.open_and_read(maker, &SimMachine::on(disk, None))?;
            let found = match maker.check(&SimMachine::on(again, None).device()) {
                Ok(damages) => !damages.is_empty(),
                Err(error) => is_clean(&error)?,
            };
            match stumbled {
                Noticed::Never if found => Ok(Noticed::ByCheck),
                Noticed::AtOpen | Noticed::AtRead if !found => {
                    Err(Violation(format!("noticed {stumbled:?}, and the check found nothing")))
                }
                stumbled => Ok(stumbled),
            }
        })
        .map_err(|Violation(why)| Violation(format!("{damage:?}: {why}")))
    }

    /// The damaged disk; `None` if the damage would change nothing.
    fn damaged(&self, damage: &Damage) -> Result<Option<SimDevice>, Violation> {
        let disk = self.disk.process_death();
        let result = match damage {
            Damage::Flip(path, at, bit) => disk.flip_bit(path, *at as u64, *bit).map(|()| true),
            Damage::Zeros(path, at) => overwrite(&disk, path, *at, page_of(&self.files, path, *at), &[0; PAGE]),
            Damage::Stale(path, at) => {
                let before = page_of(&self.earlier, path, *at);
                overwrite(&disk, path, *at, page_of(&self.files, path, *at), before)
            }
        };
        let changed = result.map_err(|error| Violation(format!("the harness cannot do damage: {error}")))?;
        Ok(changed.then_some(disk))
    }

    fn open_and_read(&self, maker: &dyn Maker, machine: &SimMachine) -> Result<Noticed, Violation> {
        let system = match maker.open(&machine.device()) {
            Ok(system) => system,
            Err(error) => {
                is_clean(&error)?;
                return Ok(Noticed::AtOpen);
            }
        };
        let mut noticed = Noticed::Never;
        for (id, expected) in &self.image.volumes {
            for (block, bytes) in &expected.blocks {
                match system.read(*id, *block * PAGE as u64, bytes.len() as u64) {
                    Ok(found) if found == *bytes => {}
                    Ok(_) => return Err(Violation(format!("block {block} of volume {id} is read wrong"))),
                    Err(error) => {
                        is_clean(&error)?;
                        noticed = Noticed::AtRead;
                    }
                }
            }
        }
        if noticed == Noticed::Never { self.compare_whole(&*system) } else { Ok(noticed) }
    }

    /// Nothing was noticed: then nothing but the bytes may differ either.
    fn compare_whole(&self, system: &dyn System) -> Result<Noticed, Violation> {
        match read_back(system, &self.model) {
            Ok(image) => self.model.admits(&image, Survives::Answered).map(|_| Noticed::Never),
            Err(error) => is_clean(&error).map(|_| Noticed::AtRead),
        }
    }
}

fn read_files(disk: &SimDevice) -> Result<BTreeMap<String, Vec<u8>>, Violation> {
    let files = disk.paths().into_iter().map(|path| read_file(disk, &path).map(|bytes| (path, bytes)));
    files.collect::<io::Result<_>>().map_err(|error| Violation(format!("the harness cannot read its disk: {error}")))
}

/// The page at a place of a file, as far as the file goes.
fn page_of<'a>(files: &'a BTreeMap<String, Vec<u8>>, path: &str, at: usize) -> &'a [u8] {
    let bytes = files.get(path).map(Vec::as_slice).unwrap_or_default();
    &bytes[at.min(bytes.len())..(at + PAGE).min(bytes.len())]
}

/// Writes `new` over `old`, no further than either goes; false if that changes nothing.
fn overwrite(disk: &SimDevice, path: &str, at: usize, old: &[u8], new: &[u8]) -> io::Result<bool> {
    let len = old.len().min(new.len());
    if old[..len] == new[..len] {
        return Ok(false);
    }
    let file = disk.open(path, Access::Buffered)?;
    file.write_at(&[IoSlice::new(&new[..len])], at as u64)?;
    file.sync_data()?;
    Ok(true)
}

/// True; errors that are no answer to damage are violations.
fn is_clean(error: &Error) -> Result<bool, Violation> {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Unsupported => Ok(true),
        ErrorKind::Poisoned if chain(error).contains("damaged") => Ok(true),
        _ => Err(Violation(format!("damage is answered with: {}", chain(error)))),
    }
}

/// What became of many damages.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Damages by file (the name cut to its directory) and by what became of them.
    pub by_file: BTreeMap<(String, Noticed), u64>,
    /// Flips of bytes that are not zero, which nobody noticed: there must be a reason for each.
    pub unnoticed: Vec<Damage>,
}

impl Tally {
    /// Adds one.
    pub fn add(&mut self, golden: &Golden, damage: &Damage, noticed: Noticed) {
        let (Damage::Flip(path, at, _) | Damage::Zeros(path, at) | Damage::Stale(path, at)) = damage;
        let class = path.split('/').next().unwrap_or_default().to_owned();
        *self.by_file.entry((class, noticed)).or_default() += 1;
        let is_zero = golden.files.get(path).is_some_and(|bytes| bytes[*at] == 0);
        let is_unused = is_zero && matches!(damage, Damage::Flip(..));
        if noticed == Noticed::Never && !is_unused {
            self.unnoticed.push(damage.clone());
        }
    }
}
