//! Reservations and quotas of replicated volumes.

use std::thread;

use blockdev::lsm_store::ErrorKind;
use blockdev::lsm_store::request::BlockState;
use blockdev::lsm_store::store::Limits;

use super::*;

const PIECE: u64 = 64 << 10;

fn quota(bytes: u64) -> Limits {
    Limits { reserve_bytes: None, quota_bytes: Some(bytes) }
}

fn new(called: &str, size_bytes: u64) -> NewVolume {
    NewVolume { name: name(called), size_bytes, codec: Codec::Lz4, replicas: 3 }
}

/// Writes a piece of a volume; false if there is no room for it.
fn lets_in(export: &Arc<dyn Export>, piece: u64, byte: u8) -> bool {
    match export.write(&[Write { offset: piece * PIECE, data: &vec![byte; PIECE as usize] }]) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
            false
        }
    }
}

/// Bytes that a volume maps, as its reader sees it.
fn mapped(export: &Arc<dyn Export>) -> u64 {
    let (mut at, mut bytes) = (0, 0);
    while at < export.size_bytes() {
        for extent in export.block_status(at, export.size_bytes() - at, 1024).unwrap() {
            at += extent.len;
            bytes += if extent.state == BlockState::Data { extent.len } else { 0 };
        }
    }
    bytes
}

#[test]
fn a_quota_is_kept_at_every_node_and_by_every_primary() {
    let scratch = Scratch::new("quota");
    let mut members = cluster_of(&scratch, 3);
    members[0].cluster.create_limited(&new("db", SIZE), quota(16 * PIECE)).unwrap();
    members[0].wait_healthy("db");
    let exports: Vec<_> = members.iter().map(|member| member.open_volume("db")).collect();
    assert!((0..16).all(|piece| lets_in(&exports[piece as usize % 3], piece, 1)));
    for export in &exports {
        assert!(!lets_in(export, 16, 1));
        assert!(lets_in(export, 3, 2), "what is mapped can be written again");
        export.zero(40 * PIECE, PIECE, Zeroing::Allocated).unwrap();
        assert!(lets_in(export, 41, 0), "zeros are not mapped");
        export.zero(41 * PIECE, PIECE, Zeroing::Hole).unwrap();
    }
    exports[1].zero(0, PIECE, Zeroing::Hole).unwrap();
    assert!(lets_in(&exports[2], 16, 1) && !lets_in(&exports[0], 17, 1), "what is trimmed makes room again");
    exports[0].flush().unwrap();
    let all = || exports.iter().all(|export| mapped(export) <= 16 * PIECE);
    wait_until("no more is mapped", all);
    for member in &members {
        assert_eq!(member.cluster.volume(&name("db")).unwrap().limits, quota(16 * PIECE));
    }
    drop(exports);
    let primary = members[0].primary("db") as usize - 1;
    let stopped = members.remove(primary).stop();
    let export = members[1].open_volume("db");
    assert!(!lets_in(&export, 17, 1) && lets_in(&export, 16, 3), "the next primary keeps it");
    members[0].cluster.set_limits(&name("db"), quota(18 * PIECE)).unwrap();
    wait_until("a larger quota lets more in", || lets_in(&export, 17, 1));
    let back = Member::open(stopped);
    back.wait_healthy("db");
    back.cluster.refresh();
    assert_eq!(back.cluster.volume(&name("db")).unwrap().limits, quota(18 * PIECE));
    let export = back.open_volume("db");
    assert!(lets_in(&export, 18, 1) && !lets_in(&export, 19, 1));
    back.cluster.set_limits(&name("db"), Limits::default()).unwrap();
    wait_until("without a quota there is none", || lets_in(&export, 19, 1));
    drop(export);
    back.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn many_clients_together_stay_within_a_quota() {
    const PIECES: u64 = 16 * 40;
    let scratch = Scratch::new("quota-many");
    let members = cluster_of(&scratch, 3);
    members[0].cluster.create_limited(&new("db", PIECES * PIECE), quota(100 * PIECE + 4096)).unwrap();
    members[0].wait_healthy("db");
    thread::scope(|scope| {
        for client in 0..6 {
            let export = members[client as usize % 3].open_volume("db");
            scope.spawn(move || {
                // What one maps another one trims.
                for step in 0..80 {
                    let piece = (step * 7 + client) * 5 % PIECES;
                    lets_in(&export, piece, 1);
                    if step % 4 == 0 {
                        export.zero((piece * 3 + 1) % PIECES * PIECE, PIECE, Zeroing::Hole).unwrap();
                    }
                }
            });
        }
    });
    let export = members[1].open_volume("db");
    (0..PIECES).for_each(|piece| _ = lets_in(&export, piece, 2));
    export.flush().unwrap();
    wait_until("the store has it", || mapped(&export) == 100 * PIECE);
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_quota_that_a_rollback_exceeds_lets_nothing_more_in() {
    let scratch = Scratch::new("quota-rollback");
    let member = Member::found(scratch.0.join("1"));
    let one = NewVolume { replicas: 1, ..new("db", SIZE) };
    member.cluster.create(&one).unwrap();
    let export = member.open_volume("db");
    assert!((0..8).all(|piece| lets_in(&export, piece, 1)));
    member.cluster.snapshot(&snapshot("db@full")).unwrap();
    export.zero(0, SIZE, Zeroing::Hole).unwrap();
    assert!(lets_in(&export, 20, 1));
    drop(export);
    member.cluster.set_limits(&name("db"), quota(4 * PIECE)).unwrap();
    let refused = Limits { reserve_bytes: Some(SIZE + 1), quota_bytes: None };
    assert_eq!(member.cluster.set_limits(&name("db"), refused).unwrap_err().kind(), ErrorKind::Invalid);
    let export = member.open_volume("db");
    assert!(lets_in(&export, 21, 1));
    drop(export);
    member.cluster.roll_back(&snapshot("db@full")).unwrap();
    let export = member.open_volume("db");
    assert!(!lets_in(&export, 20, 1) && lets_in(&export, 7, 2));
    export.zero(0, 5 * PIECE, Zeroing::Hole).unwrap();
    assert!(lets_in(&export, 20, 1) && !lets_in(&export, 21, 1));
    drop(export);
    let member = Member::open(member.stop());
    let export = member.open_volume("db");
    assert!(!lets_in(&export, 21, 1), "it is kept from the first write on");
    let clone = member.cluster.clone_volume(&"db@full".parse().unwrap(), &name("clone")).unwrap();
    assert_eq!(clone.limits, Limits::default());
    drop(export);
    member.stop();
}

#[test]
fn what_is_reserved_for_a_volume_is_left_to_it_by_others_on_every_node() {
    const MIB: u64 = 1 << 20;
    let scratch = Scratch::new("reserve");
    let members = cluster_of(&scratch, 3);
    members[2].store.set_capacity(Some(512 * MIB)).unwrap();
    let reserve = |bytes| Limits { reserve_bytes: Some(bytes), quota_bytes: None };
    members[0].cluster.create_limited(&new("kept", 1 << 30), reserve(96 * MIB)).unwrap();
    members[0].cluster.create(&new("db", 1 << 30)).unwrap();
    for volume in ["kept", "db"] {
        members[0].wait_healthy(volume);
    }
    let reserved = |member: &Member| member.store.status().reserved_bytes;
    wait_until("every node keeps it", || members.iter().all(|member| reserved(member) == 96 * MIB));
    let (kept, db) = (members[1].open_volume("kept"), members[0].open_volume("db"));
    let mut pieces = Vec::new();
    full::fill(&db, &mut pieces);
    assert!(pieces.len() > 8, "{} pieces fit", pieces.len());
    let mut held = Vec::new();
    full::fill(&kept, &mut held);
    assert!(held.len() > 64, "{} pieces of 96 fit", held.len());
    kept.flush().unwrap();
    // The node that is asked says what it cannot keep; another does not know, and the replica keeps what there is.
    let name = name("kept");
    assert_eq!(members[2].cluster.set_limits(&name, reserve(800 * MIB)).unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert_eq!(members[2].cluster.volume(&name).unwrap().limits, reserve(96 * MIB));
    members[0].cluster.set_limits(&name, reserve(800 * MIB)).unwrap();
    wait_until("the others keep it", || members[..2].iter().all(|member| reserved(member) > 600 * MIB));
    db.zero(0, MIB, Zeroing::Hole).unwrap();
    db.flush().unwrap();
    members[0].wait_healthy("kept");
    members[0].wait_healthy("db");
    drop((kept, db));
    members.into_iter().for_each(|member| drop(member.stop()));
}
