use lsm_store::id::{BLOCK_BYTES, VolumeId};
use lsm_store::request::{BlockState, StatusExtent, Zeroing};

use super::{Change, Image, StoreImage, StoreModel, Survives, VolumeModel};

const SIZE: u64 = 8 * BLOCK_BYTES as u64;

fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK_BYTES]
}

/// A volume of eight blocks whose first ones hold these bytes; 0 is a hole.
fn image(bytes: &[u8]) -> Image {
    let states = (0..8).map(|index| match bytes.get(index) {
        Some(0) | None => BlockState::Hole,
        Some(_) => BlockState::Data,
    });
    let status = states.enumerate().map(|(index, state)| (index as u64 * 4096, 4096, state)).collect();
    let blocks = bytes.iter().enumerate().map(|(index, byte)| (index as u64, block(*byte))).collect();
    Image { size_bytes: SIZE, blocks, status }
}

fn written(order: &[(u64, u8)]) -> VolumeModel {
    let mut volume = VolumeModel::new(SIZE);
    for (index, byte) in order {
        volume.begin_write(index * 4096, &block(*byte));
        volume.answer();
    }
    volume
}

#[test]
fn a_crash_may_leave_any_prefix_and_nothing_else() {
    let volume = written(&[(0, 1), (1, 2), (0, 3)]);
    for prefix in [[0, 0], [1, 0], [1, 2], [3, 2]] {
        assert!(volume.admits(&image(&prefix), Survives::Flushed).is_ok(), "{prefix:?}");
    }
    for other in [[0, 2], [3, 0], [1, 3], [2, 1]] {
        assert!(volume.admits(&image(&other), Survives::Flushed).is_err(), "{other:?}");
    }
}

#[test]
fn what_was_flushed_stays() {
    let mut volume = written(&[(0, 1), (1, 2)]);
    volume.flush();
    volume.begin_write(0, &block(3));
    volume.answer();
    assert!(volume.admits(&image(&[1, 2]), Survives::Flushed).is_ok());
    assert!(volume.admits(&image(&[1, 0]), Survives::Flushed).is_err());
}

#[test]
fn the_death_of_the_process_loses_nothing_answered() {
    let mut volume = written(&[(0, 1)]);
    volume.begin_write(4096, &block(2));
    assert!(volume.admits(&image(&[0, 0]), Survives::Answered).is_err());
    assert!(volume.admits(&image(&[1, 0]), Survives::Answered).is_ok(), "what only began may be lost");
    assert!(volume.admits(&image(&[1, 2]), Survives::Answered).is_ok(), "or be there");
}

#[test]
fn a_torn_block_is_never_right() {
    let volume = written(&[(0, 1), (0, 2)]);
    let mut torn = image(&[1]);
    torn.blocks.get_mut(&0).unwrap()[..512].fill(2);
    assert!(volume.admits(&torn, Survives::Flushed).is_err());
}

#[test]
fn a_write_with_partial_ends_is_parted_at_them_only() {
    let mut volume = VolumeModel::new(SIZE);
    volume.begin_write(2048, &[7; 2048 + 2 * 4096]);
    volume.answer();
    let half = [vec![0; 2048], vec![7; 2048]].concat();
    let with_half = |bytes: &[u8]| {
        let mut found = image(bytes);
        found.blocks.insert(0, half.clone());
        found.status[0].2 = BlockState::Data;
        found
    };
    assert!(volume.admits(&with_half(&[1, 0, 0]), Survives::Flushed).is_ok());
    assert!(volume.admits(&with_half(&[1, 7, 7]), Survives::Flushed).is_ok());
    assert!(volume.admits(&with_half(&[1, 7, 0]), Survives::Flushed).is_err());
}

#[test]
fn a_write_in_doubt_may_be_there_or_not_and_those_after_it_count() {
    let mut volume = written(&[(0, 1)]);
    volume.begin_write(4096, &block(2));
    volume.doubt();
    volume.begin_write(2 * 4096, &block(3));
    volume.answer();
    assert!(volume.admits(&image(&[1, 2, 3]), Survives::Answered).is_ok());
    assert!(volume.admits(&image(&[1, 0, 3]), Survives::Answered).is_ok());
    assert!(volume.admits(&image(&[1, 2, 0]), Survives::Answered).is_err());
}

#[test]
fn a_refused_group_counts_as_far_as_it_can_be_read() {
    let mut volume = VolumeModel::new(SIZE);
    (0..3).for_each(|index| volume.begin_write(index * 4096, &block(5)));
    let now = |offset: u64, len: u64| Some(vec![if offset < 8192 { 5 } else { 0 }; len as usize]);
    volume.resolve(now).unwrap();
    assert_eq!(volume.read(0, 3 * 4096), [block(5), block(5), block(0)].concat());
    volume.begin_write(4 * 4096, &block(6));
    assert!(volume.resolve(|_, len| Some(vec![9; len as usize])).is_err(), "bytes that nobody wrote are wrong");
}

#[test]
fn block_status_tells_holes_zeros_and_data_apart() {
    let mut volume = written(&[(0, 1), (1, 2)]);
    volume.begin_zero(4096, 4096, Zeroing::Allocated);
    volume.answer();
    let answer = |states: &[BlockState]| -> Vec<StatusExtent> {
        states.iter().map(|state| StatusExtent { len: 4096, state: *state }).collect()
    };
    use BlockState::{Data, Hole, Zero};
    assert!(volume.admits_status(0, 3 * 4096, &answer(&[Data, Zero, Hole])).is_ok());
    assert!(volume.admits_status(0, 3 * 4096, &answer(&[Data])).is_ok(), "an answer may end early");
    for wrong in [&[Hole, Zero, Hole][..], &[Data, Hole], &[Data, Zero, Zero], &[Data, Zero, Data], &[]] {
        assert!(volume.admits_status(0, 3 * 4096, &answer(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn changes_of_volumes_are_open_until_answered() {
    let mut model = StoreModel::default();
    let id = VolumeId(1);
    let with = |found: Option<Image>| StoreImage { volumes: found.map(|found| (id, found)).into_iter().collect() };
    model.begin(Change::Create(id, SIZE));
    assert!(model.admits(&with(None), Survives::Answered).is_ok());
    assert!(model.admits(&with(Some(image(&[]))), Survives::Answered).is_ok());
    model.answer();
    assert!(model.admits(&with(None), Survives::Flushed).is_err(), "a volume that was made is there");
    model.begin(Change::Resize(id, SIZE / 2));
    let smaller = Image { size_bytes: SIZE / 2, status: vec![(0, SIZE / 2, BlockState::Hole)], ..Image::default() };
    assert!(model.admits(&with(Some(smaller)), Survives::Flushed).is_ok());
    assert!(model.admits(&with(Some(image(&[]))), Survives::Flushed).is_ok());
    model.answer();
    assert!(model.admits(&with(Some(image(&[]))), Survives::Flushed).is_err(), "a volume that was resized is");
    model.begin(Change::Delete(id));
    model.answer();
    assert!(model.admits(&with(None), Survives::Flushed).is_ok());
    assert!(model.admits(&with(Some(image(&[]))), Survives::Flushed).is_err(), "a deleted volume stays deleted");
}

/// The model took the longest part of a refused zeroing that agrees with what is read for done, though reading cannot
/// tell zeros from a hole.
#[test]
fn after_a_refused_zeroing_blocks_that_read_as_zeros_may_be_in_either_state() {
    let mut volume = written(&[(3, 1)]);
    volume.begin_zero(512, 3 * 4096, Zeroing::Allocated);
    volume.resolve(|offset, _| Some(block(u8::from(offset == 3 * 4096)))).unwrap();
    for state in [BlockState::Hole, BlockState::Zero] {
        assert!(volume.admits_status(4096, 4096, &[StatusExtent { len: 4096, state }]).is_ok(), "{state:?}");
    }
    let hole = [StatusExtent { len: 4096, state: BlockState::Hole }];
    assert!(volume.admits_status(3 * 4096, 4096, &hole).is_err());
}
