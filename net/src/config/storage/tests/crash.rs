//! What is left when the power goes at any moment, and what a failed sync or rot does.

use std::collections::BTreeMap;
use std::io::Cursor;

use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder, Vote};

use super::super::super::forms::{Entry, LogId, StoredMembers};
use super::super::super::state::Command;
use super::*;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let command = Command::DrainNode { node: NodeId(term * 1000 + index) };
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(command) }
}

/// A seeded sequence of bits (xorshift64*).
fn coin(mut state: u64) -> impl FnMut() -> bool {
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 63 == 1
    }
}

/// What has been acknowledged: of the log after each step, and the vote.
#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    log: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    vote: Option<Vote<u64>>,
}

type Change = fn(&mut Model, &Storage) -> Result<(), StorageError>;

/// Steps, each of which changes the model and the file alike.
const STEPS: [Change; 7] = [
    |model, storage| {
        model.vote = Some(Vote::new(1, 1));
        storage.save_vote(Vote::new(1, 1))
    },
    |model, storage| append(model, storage, 1, 1..5),
    |model, storage| append(model, storage, 1, 5..40),
    |model, storage| {
        model.vote = Some(Vote::new_committed(2, 3));
        storage.save_vote(Vote::new_committed(2, 3))
    },
    |model, storage| {
        model.log.split_off(&30);
        storage.truncate(30)
    },
    |model, storage| append(model, storage, 2, 30..33),
    |model, storage| {
        model.log = model.log.split_off(&11);
        model.purged = Some(id(1, 10));
        storage.purge(id(1, 10))
    },
];

fn append(model: &mut Model, storage: &Storage, term: u64, indexes: std::ops::Range<u64>) -> Result<(), StorageError> {
    let entries: Vec<Entry> = indexes.map(|index| entry(term, index)).collect();
    model.log.extend(entries.iter().map(|entry| (entry.log_id.index, entry.clone())));
    storage.append(entries)
}

fn read(storage: &Storage) -> Model {
    let entries = storage.entries(0, u64::MAX, usize::MAX).unwrap();
    Model {
        log: entries.into_iter().map(|entry| (entry.log_id.index, entry)).collect(),
        purged: storage.purged().unwrap(),
        vote: storage.vote().unwrap(),
    }
}

#[test]
fn what_was_acknowledged_survives_a_crash_after_any_step() {
    for steps in 0..=STEPS.len() {
        for seed in 1..=8 {
            let disk = Disk::default();
            let storage = Storage::create_on(disk.open(), STORE).unwrap();
            let mut model = Model::default();
            STEPS[..steps].iter().for_each(|step| step(&mut model, &storage).unwrap());
            disk.crash(coin(seed * 7919));
            let found = read(&Storage::open_on(disk.open()).unwrap());
            assert_eq!(found, model, "after {steps} steps, seed {seed}");
        }
    }
}

#[test]
fn a_step_that_was_cut_off_was_made_or_not() {
    for seed in 1..=40 {
        for step in 0..STEPS.len() {
            let disk = Disk::default();
            let storage = Storage::create_on(disk.open(), STORE).unwrap();
            let mut model = Model::default();
            STEPS[..step].iter().for_each(|step| step(&mut model, &storage).unwrap());
            let before = model.clone();
            disk.lose_power_at_sync();
            STEPS[step](&mut model, &storage).unwrap_err();
            disk.crash(coin(seed * 104_729));
            let found = read(&Storage::open_on(disk.open()).unwrap());
            assert!(found == before || found == model, "step {step}, seed {seed}: {found:?}");
        }
    }
}

#[test]
fn a_failed_sync_is_final() {
    let disk = Disk::default();
    let storage = Storage::create_on(disk.open(), STORE).unwrap();
    storage.append(vec![entry(1, 1)]).unwrap();
    disk.fail_sync_after(0);
    storage.append(vec![entry(1, 2)]).unwrap_err();
    // The disk would say yes now; the vote must not be given on it.
    storage.save_vote(Vote::new(9, 1)).unwrap_err();
    storage.append(vec![entry(1, 3)]).unwrap_err();
    disk.crash(|| false);
    let storage = Storage::open_on(disk.open()).unwrap();
    assert_eq!(read(&storage).log.len(), 1);
    assert_eq!(storage.vote().unwrap(), None);
}

#[test]
fn votes_and_entries_are_synced_before_they_are_answered() {
    let disk = Disk::default();
    let storage = Storage::create_on(disk.open(), STORE).unwrap();
    let mut synced = disk.syncs();
    let mut grew = |what: &str| {
        assert!(disk.syncs() > synced, "{what} is synced");
        synced = disk.syncs();
    };
    storage.save_vote(Vote::new(1, 1)).unwrap();
    grew("a vote");
    storage.append(vec![entry(1, 1)]).unwrap();
    grew("an entry");
    storage.purge(id(1, 1)).unwrap();
    grew("a purge");
}

#[test]
fn rot_is_an_error() {
    let disk = Disk::default();
    let storage = Storage::create_on(disk.open(), STORE).unwrap();
    storage.append(vec![entry(1, 1)]).unwrap();
    storage.save_vote(Vote::new(0x55aa_55aa_55aa, 1)).unwrap();
    drop(storage);
    disk.rot(&0x55aa_55aa_55aa_u64.to_le_bytes(), &0x55aa_55aa_55ab_u64.to_le_bytes());
    let storage = Storage::open_on(disk.open()).unwrap();
    let error = storage.vote().unwrap_err();
    assert_eq!(error.to_string(), "the configuration's vote cannot be used: it is damaged");
    disk.rot(b"cEnt", b"cEnu");
    let storage = Storage::open_on(disk.open()).unwrap();
    let error = storage.entries(0, 9, 0).unwrap_err();
    assert_eq!(error.to_string(), "the configuration's log cannot be used: it is damaged");
}

#[tokio::test]
async fn a_machine_starts_from_its_last_snapshot() {
    let disk = Disk::default();
    let mut storage = Storage::create_on(disk.open(), STORE).unwrap();
    let mut machine = Machine::open(storage.clone()).unwrap();
    let entries: Vec<Entry> = (1..=3).map(|index| entry(1, index)).collect();
    storage.blocking_append(entries.clone()).await.unwrap();
    machine.apply(entries).await.unwrap();
    let mut builder = machine.get_snapshot_builder().await;
    machine.apply([entry(1, 4)]).await.unwrap();
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(id(1, 3)));
    assert_eq!(machine.watch().borrow().applied, 4);
    disk.crash(|| false);
    let mut machine = Machine::open(Storage::open_on(disk.open()).unwrap()).unwrap();
    assert_eq!(machine.applied_state().await.unwrap(), (Some(id(1, 3)), StoredMembers::default()));
}

#[tokio::test]
async fn an_older_snapshot_replaces_no_newer_one() {
    let (disk, _, mut machine) = OnDisks.build().await.unwrap();
    machine.apply([entry(1, 1)]).await.unwrap();
    let mut late = machine.get_snapshot_builder().await;
    machine.apply([entry(1, 2)]).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    late.build_snapshot().await.unwrap();
    disk.crash(|| false);
    let mut machine = Machine::open(Storage::open_on(disk.open()).unwrap()).unwrap();
    assert_eq!(machine.applied_state().await.unwrap().0, Some(id(1, 2)));
}

#[tokio::test]
async fn a_snapshot_that_is_none_is_refused_and_changes_nothing() {
    let (_disk, _, mut machine) = OnDisks.build().await.unwrap();
    machine.apply([entry(1, 1)]).await.unwrap();
    let mut meta = machine.get_snapshot_builder().await.build_snapshot().await.unwrap().meta;
    meta.last_log_id = Some(id(2, 9));
    machine.install_snapshot(&meta, Box::new(Cursor::new(b"garbage".to_vec()))).await.unwrap_err();
    assert_eq!(machine.applied_state().await.unwrap().0, Some(id(1, 1)));
    let kept = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(kept.meta.last_log_id, Some(id(1, 1)));
}
