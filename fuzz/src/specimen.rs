//! Stores for the fuzz targets: a small sound one, of which one file is edited before it is opened.
//!
//! A fuzzer's input is a script of edits to golden bytes, not the bytes themselves: so it starts from something whole and
//! needs no corpus. Built with `--cfg fuzzing` the store's checksums are all the same, which lets edits through to the
//! decoders; then wrong bytes are to be expected and only panics count.

use std::sync::Arc;

use lsm_store::clock::SystemClock;
use lsm_store::device::Device;
use lsm_store::device::sim::SimDevice;
use lsm_store::request::Write;
use lsm_store::rng::SeededRng;
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, Store};

use crate::model::{StoreModel, Violation};
use crate::rot::{Golden, Stop};
use crate::runner::Machine;
use crate::store::StoreMaker;
use crate::system::{Maker, read_back};

/// Edits of one script at most.
const EDITS_MAX: usize = 16;

/// Applies the edits that `script` describes to `golden`: bytes replaced, inserted or removed, the end cut off.
#[must_use]
pub fn edited(golden: &[u8], mut script: &[u8]) -> Vec<u8> {
    let mut bytes = golden.to_vec();
    for _ in 0..EDITS_MAX {
        let [kind, len, a, b, c, rest @ ..] = script else { break };
        let place = u32::from_le_bytes([*a, *b, *c, 0]) as usize % (bytes.len() + 1);
        let len = usize::from(*len) % 32 + 1;
        let (data, rest) = rest.split_at(len.min(rest.len()));
        match kind % 8 {
            0 => drop(bytes.splice(place..place, data.iter().copied())),
            1 => drop(bytes.drain(place..(place + len).min(bytes.len()))),
            2 => bytes.truncate(place),
            3 => {
                // A number near one that is there: lengths and offsets that are nearly right.
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = byte.wrapping_add(len as u8);
                }
            }
            _ => {
                let end = (place + data.len()).min(bytes.len());
                bytes[place..end].copy_from_slice(&data[..end - place]);
            }
        }
        script = rest;
    }
    bytes
}

pub(crate) fn broken(error: impl std::fmt::Display) -> Violation {
    Violation(error.to_string())
}

/// The store on a device, made if there is none: it has little memory, and does nothing by itself.
pub(crate) fn opened(device: &SimDevice) -> Result<Arc<Store>, Violation> {
    let environment = Environment {
        device: Arc::new(device.clone()),
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(SeededRng::new(1)),
    };
    if !Store::exists(&environment).map_err(broken)? {
        Store::create(&environment, Settings::default()).map_err(broken)?;
    }
    let options = Options { budget: Budget::divide(8 << 20), background: BackgroundMode::Manual, read_only: false };
    Store::open(environment, options).map_err(broken)
}

/// A small sound store.
pub struct Specimen {
    golden: Golden,
    maker: StoreMaker,
}

impl Specimen {
    /// A store that was killed, so that it has a journal, with some runs and segments.
    ///
    /// # Errors
    /// If the store cannot be made: that is a bug to find by other harnesses.
    pub fn make() -> Result<Self, Violation> {
        let maker = StoreMaker::default();
        Ok(Self { golden: Golden::make(&maker, 1, 60, Stop::Killed)?, maker })
    }

    /// Edits a file below `directory` (or the file of that name), chosen and edited by `script`, and does with the store
    /// all that can be done: open it, read everything, write, flush, close and check it.
    ///
    /// # Errors
    /// If the store gives wrong bytes, in a build whose checksums are real.
    pub fn try_script(&self, directory: &str, script: &[u8]) -> Result<(), Violation> {
        let Some((choice, script)) = script.split_first() else { return Ok(()) };
        let files: Vec<&String> = self.golden.files().keys().filter(|path| path.starts_with(directory)).collect();
        assert!(!files.is_empty(), "the specimen has a file in {directory}");
        let path = files[usize::from(*choice) % files.len()];
        let machine = self.golden.with_file(path, &edited(&self.golden.files()[path], script))?;
        if cfg!(fuzzing) {
            self.use_up(&machine.device(), self.golden.model());
            return Ok(());
        }
        let verdict = self.golden.right_or_error(&self.maker, &machine);
        verdict.map_err(|Violation(why)| Violation(format!("{path} edited by {script:?}: {why}")))
    }

    /// Whatever comes of it is right, as long as nothing panics.
    fn use_up(&self, device: &Arc<dyn Device>, model: &StoreModel) {
        drop(self.maker.check(device));
        let Ok(system) = self.maker.open(device) else { return };
        drop(read_back(&*system, model));
        for (id, volume) in model.volumes() {
            let zeros = vec![1; volume.size_bytes().min(20_000) as usize];
            drop(system.write(*id, &[Write { offset: 0, data: &zeros }]));
            drop(system.flush(*id));
        }
        drop(system.freeze());
        // Bounded: a store that is never idle shows as a slow input.
        for _ in 0..64 {
            if !matches!(system.step(), Ok(true)) {
                break;
            }
        }
        drop(system.close());
    }
}

#[cfg(test)]
mod tests;
