//! Content between two stores in one process, over a link that counts, cuts and damages.

mod damage;
mod moves;
mod repair;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lsm_store::clock::{Clock, SystemClock};
use lsm_store::codec::Codec;
use lsm_store::device::sim::{Faults, SimDevice, VirtualClock};
use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::{Write, Zeroing};
use lsm_store::rng::{Rng, SeededRng};
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, Store, Volume, VolumeSpec};
use net::replication::{TransferId, VolumeId};
use parking_lot::Mutex;

use super::*;

const BLOCK: u64 = BLOCK_BYTES as u64;
const VOLUME: VolumeId = VolumeId(3);

/// A store on a simulated disk.
struct Bench {
    device: SimDevice,
    store: Arc<Store>,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self::on(SimDevice::new(seed, Faults::none()))
    }

    fn on(device: SimDevice) -> Self {
        let environment = Environment {
            device: Arc::new(device.clone()),
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SeededRng::new(7)),
        };
        if !Store::exists(&environment).unwrap() {
            Store::create(&environment, Settings::default()).unwrap();
        }
        let options =
            Options { budget: Budget::divide(32 << 20), background: BackgroundMode::Manual, read_only: false };
        Self { device, store: Store::open(environment, options).unwrap() }
    }

    fn volume(&self, size_bytes: u64) -> Volume {
        let spec = VolumeSpec { size_bytes, codec: Codec::Lz4 };
        self.store.volume(self.store.create_volume(spec, |_| Vec::new()).unwrap()).unwrap()
    }

    fn snapshot(&self, volume: &Volume) -> Volume {
        let ids = self.store.snapshot_volumes(&[volume.id()], |_| Vec::new()).unwrap();
        self.store.volume(ids[0]).unwrap()
    }

    fn settle(&self) {
        self.store.freeze().unwrap();
        while self.store.step().unwrap() {}
    }
}

/// A way to a receiver in this process. Its questions are counted from 0.
struct Link {
    receiver: Mutex<Receiver>,
    asked: AtomicUsize,
    /// From this question on there is no answer.
    cut_at: usize,
    /// The cut question is answered, and the answer is lost.
    loses_answer: bool,
    /// What is done to a question and to an answer on the way.
    damage: Option<Box<Damage>>,
    /// Most questions that were under way at once, and those that are.
    under_way_max: AtomicUsize,
    under_way: AtomicUsize,
}

type Damage = dyn Fn(usize, bool, Message) -> Message + Sync;

impl Link {
    fn to(volume: &Volume) -> Self {
        Self {
            receiver: Mutex::new(Receiver::new(volume.clone(), VOLUME, TransferId(1))),
            asked: AtomicUsize::new(0),
            cut_at: usize::MAX,
            loses_answer: false,
            damage: None,
            under_way_max: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn is_complete(&self) -> bool {
        self.receiver.lock().is_complete()
    }

    fn damaged(&self, index: usize, is_answer: bool, message: Message) -> Message {
        match &self.damage {
            Some(damage) => damage(index, is_answer, message),
            None => message,
        }
    }
}

impl Asking for Link {
    fn ask(&self, message: Message) -> Result<Message, RequestError> {
        let index = self.asked.fetch_add(1, Ordering::Relaxed);
        if index >= self.cut_at && !(self.loses_answer && index == self.cut_at) {
            return Err(RequestError::Down);
        }
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.under_way_max.fetch_max(now, Ordering::Relaxed);
        let question = self.damaged(index, false, message);
        let answer = self.receiver.lock().handle(&question);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        if index == self.cut_at { Err(RequestError::Down) } else { Ok(self.damaged(index, true, answer)) }
    }
}

fn sent(source: &Volume, base: Option<&Volume>, link: &Link) -> Result<Sent, SendError> {
    let clock = SystemClock::new();
    let source = Source { volume: source.clone(), base: base.cloned() };
    let told = |progress: Progress| {
        assert!(progress.blocks_done <= progress.blocks_compared && progress.blocks_compared <= progress.blocks_total);
    };
    send(&source, VOLUME, TransferId(1), link, &Pace::new(&clock), &told)
}

/// Sends to a receiver that begins with what the volume holds.
fn copied(source: &Volume, base: Option<&Volume>, target: &Volume) -> Sent {
    let link = Link::to(target);
    let sent = sent(source, base, &link).unwrap();
    assert!(link.is_complete());
    sent
}

fn content(volume: &Volume) -> Vec<u8> {
    let mut content = vec![0; volume.size_bytes() as usize];
    volume.read(0, content.len()).unwrap().copy_to(&mut content);
    content
}

#[track_caller]
fn assert_equal(a: &Volume, b: &Volume) {
    assert!(content(a) == content(b), "the two hold different content");
}

fn write(volume: &Volume, block: u64, data: &[u8]) {
    volume.write(&[Write { offset: block * BLOCK, data }]).unwrap();
}

fn noise(seed: u64, blocks: u64) -> Vec<u8> {
    let mut bytes = vec![0; (blocks * BLOCK) as usize];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn text(seed: u64, blocks: u64) -> Vec<u8> {
    let line = format!("{seed} and so on, line after line\n");
    line.bytes().cycle().take((blocks * BLOCK) as usize).collect()
}

/// Noise, text, zeros, holes, and an end within a block.
fn mixed(bench: &Bench, blocks: u64) -> Volume {
    let volume = bench.volume(blocks * BLOCK - 100);
    write(&volume, 3, &text(1, blocks / 4));
    write(&volume, blocks / 2, &noise(2, blocks / 4));
    bench.settle();
    write(&volume, blocks - 1, &noise(3, 1)[..BLOCK_BYTES - 100]);
    volume.zero(10 * BLOCK, 5 * BLOCK, Zeroing::Allocated).unwrap();
    volume.zero((blocks / 2 + 3) * BLOCK, BLOCK, Zeroing::Hole).unwrap();
    volume
}
