use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::codec::Codec;
use crate::device::sim::{Faults, SimDevice};
use crate::device::{Access, Device};
use crate::error::Error;
use crate::id::{BlockIndex, Epoch, FamilyId, Generation, LayerId, Lsn, RunId, SegmentId, Sequence, StoreId, VolumeId};
use crate::layers::LayerTree;
use crate::map::{Key, RunMeta};
use crate::segment::{Class, Geometry, Identity, SegmentSummary};

const STORE: StoreId = StoreId([3; 16]);

fn device() -> Arc<dyn Device> {
    let device = SimDevice::new(1, Faults::none());
    device.create_directory(MANIFEST_DIRECTORY).unwrap();
    Arc::new(device)
}

fn volume(size_bytes: u64) -> VolumeRecord {
    VolumeRecord {
        size_bytes,
        codec: Codec::Lz4,
        layer: LayerId(2),
        lsn: Lsn(9),
        created_ms: 1_700_000_000_000,
        snapshot_of: None,
    }
}

fn all_edits() -> Vec<Edit> {
    let identity = Identity {
        id: SegmentId(5),
        epoch: Epoch(1),
        class: Class::Flush,
        domain: 0,
        created: Duration::from_millis(77),
    };
    let geometry = Geometry::new(10, 8192).unwrap();
    let key = |block| Key { family: FamilyId(2), block: BlockIndex(block) };
    let run = RunMeta {
        id: RunId(6),
        level: 1,
        bytes: 8192,
        entry_pages: 1,
        range_pages: 0,
        entries: 2,
        ranges: 0,
        blocks: 3,
        first: key(1),
        last: key(9),
        layer_min: LayerId(2),
        layer_max: LayerId(4),
    };
    vec![
        Edit::ReserveIds { segment: SegmentId(9), run: RunId(9), volume: VolumeId(9), layer: LayerId(9) },
        Edit::SetJournal(JournalStart { tail: Generation(4), first: Sequence(8), incarnation: 2, exists: true }),
        Edit::SetCapacity(Some(1 << 40)),
        Edit::SetVolume(VolumeId(1), volume(1 << 30)),
        Edit::SetRecord(b"name".to_vec(), Some(b"value".to_vec())),
        Edit::AddSegment(SegmentSummary { identity, geometry, frames: 10, blocks: 10 }),
        Edit::AddRun(run),
    ]
}

/// What version 2 has added: the volume goes on in another layer, and a snapshot keeps the old one.
fn snapshot_edits() -> Vec<Edit> {
    let head = VolumeRecord { layer: LayerId(3), ..volume(1 << 30) };
    let snapshot = VolumeRecord { snapshot_of: Some(VolumeId(1)), ..volume(1 << 30) };
    vec![
        Edit::AddLayer(LayerId(3), Some(LayerId(2))),
        Edit::SetVolume(VolumeId(1), head),
        Edit::SetVolume(VolumeId(3), snapshot),
    ]
}

#[test]
fn edits_keep_their_bytes() {
    let bytes = edit::encode(&all_edits());
    let digest = blake3::hash(&bytes).to_hex();
    assert_eq!((bytes.len(), &digest[..16]), (703, "a3b452c380b1671a"), "the stored form of edits has changed");
    let bytes = edit::encode(&snapshot_edits());
    let digest = blake3::hash(&bytes).to_hex();
    assert_eq!((bytes.len(), &digest[..16]), (302, "6541a6c4d8d36a6d"), "the stored form of edits has changed");
}

/// What version 3 has added.
fn cold_edit() -> Edit {
    let Some(Edit::AddSegment(segment)) = all_edits().get(5).cloned() else { panic!("the sixth adds a segment") };
    let identity = Identity { class: Class::Cold, ..segment.identity };
    Edit::AddSegment(SegmentSummary { identity, ..segment })
}

#[test]
fn only_commits_with_cold_segments_need_a_program_that_knows_them() {
    assert_eq!(edit::version_of(&[all_edits(), snapshot_edits()].concat()), 2);
    let edits = vec![cold_edit()];
    let bytes = edit::encode(&edits);
    let digest = blake3::hash(&bytes).to_hex();
    assert_eq!((bytes.len(), &digest[..16]), (106, "0cff04adf25d9e89"), "the stored form of edits has changed");
    assert_eq!(edit::version_of(&edits), 3);
    assert_eq!(edit::decode(3, &bytes).unwrap(), Some(edits));
}

#[test]
fn edits_survive_their_stored_form() {
    let mut edits = all_edits();
    edits.push(Edit::RemoveVolume(VolumeId(1)));
    edits.push(Edit::SetRecord(b"name".to_vec(), None));
    edits.push(Edit::RemoveSegment(SegmentId(5)));
    edits.push(Edit::RemoveRun(RunId(6)));
    edits.push(Edit::SetCapacity(None));
    assert_eq!(edit::decode(1, &edit::encode(&edits)).unwrap(), Some(edits.clone()));
    edits.extend(snapshot_edits());
    edits.push(Edit::AddLayer(LayerId(4), None));
    assert_eq!(edit::decode(2, &edit::encode(&edits)).unwrap(), Some(edits));
}

#[test]
fn a_checkpoint_says_what_the_commits_said() {
    let mut state = State::default();
    assert!(all_edits().iter().chain(&snapshot_edits()).all(|edit| state.apply(edit)));
    let mut again = State::default();
    assert!(state.to_edits().iter().all(|edit| again.apply(edit)));
    assert_eq!(again, state);
}

#[test]
fn commits_are_replayed_and_a_torn_one_is_not() {
    let device = device();
    let mut manifest = Manifest::create(&device, STORE, 1, 1, &State::default()).unwrap();
    manifest.commit(&all_edits()).unwrap();
    let whole = replay(&*device, STORE, 1, 0).unwrap();
    manifest.commit(&[Edit::SetVolume(VolumeId(2), volume(5))]).unwrap();
    assert_eq!(replay(&*device, STORE, 1, 0).unwrap().state.volumes.len(), 2);
    let file = device.open(&format!("{MANIFEST_DIRECTORY}/{:016x}", 1), Access::Buffered).unwrap();
    file.write_at(&[IoSlice::new(&[0xff])], whole.end + 40).unwrap();
    let torn = replay(&*device, STORE, 1, 0).unwrap();
    assert_eq!((torn.state, torn.sequence), (whole.state, whole.sequence));
}

#[test]
fn a_manifest_that_ends_before_a_known_commit_is_damaged() {
    let device = device();
    let mut manifest = Manifest::create(&device, STORE, 1, 1, &State::default()).unwrap();
    manifest.commit(&all_edits()).unwrap();
    assert_eq!(replay(&*device, STORE, 1, 2).unwrap().sequence, 2);
    assert!(matches!(replay(&*device, STORE, 1, 3), Err(Error::Corrupt { .. })));
}

#[test]
fn a_damaged_commit_with_valid_ones_behind_it_is_not_taken_for_the_end() {
    let device = device();
    let mut manifest = Manifest::create(&device, STORE, 1, 1, &State::default()).unwrap();
    let first = manifest.len_bytes();
    manifest.commit(&all_edits()).unwrap();
    manifest.commit(&[Edit::SetVolume(VolumeId(2), volume(5))]).unwrap();
    let file = device.open(&format!("{MANIFEST_DIRECTORY}/{:016x}", 1), Access::Buffered).unwrap();
    file.write_at(&[IoSlice::new(&[0xff])], first + 40).unwrap();
    assert!(matches!(replay(&*device, STORE, 1, 0), Err(Error::Corrupt { offset, .. }) if offset == first));
}

#[test]
fn a_commit_of_a_newer_version_is_refused() {
    assert!(matches!(edit::decode(4, &[]), Err(Error::Unsupported { found: 4, .. })));
}

#[test]
fn layers_that_nobody_can_see_any_more_are_forgotten() {
    let mut state = State::default();
    assert!(all_edits().iter().chain(&snapshot_edits()).all(|edit| state.apply(edit)));
    assert!(state.apply(&Edit::RemoveVolume(VolumeId(3))));
    assert!(state.layers.contains(LayerId(2)), "the volume sees through it");
    let back = VolumeRecord { layer: LayerId(7), ..volume(1) };
    assert!(
        state.apply(&Edit::AddLayer(LayerId(7), Some(LayerId(2)))) && state.apply(&Edit::SetVolume(VolumeId(1), back))
    );
    assert!(!state.layers.contains(LayerId(3)), "the volume has left it");
    assert!(state.apply(&Edit::RemoveVolume(VolumeId(1))));
    assert_eq!(state.layers, LayerTree::default());
}

#[test]
fn a_layer_that_is_there_or_lies_on_none_contradicts_the_state() {
    let mut state = State::default();
    assert!(state.apply(&Edit::AddLayer(LayerId(2), None)));
    let wrong = [(2, None), (3, Some(4)), (5, Some(3)), (1, Some(2))];
    for (layer, parent) in wrong {
        assert!(!state.apply(&Edit::AddLayer(LayerId(layer), parent.map(LayerId))), "{layer} on {parent:?}");
    }
}
