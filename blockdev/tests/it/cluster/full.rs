//! A node whose store fills up.

use blockdev::lsm_store::ErrorKind;
use blockdev::lsm_store::rng::Rng;

use super::*;

const PIECE: usize = 1 << 20;
const LARGE: u64 = 1 << 30;

/// Bytes that do not compress, other ones each time.
fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; PIECE];
    SystemRng.fill(&mut bytes);
    bytes
}

/// Writes pieces from `first` on until there is no room.
pub(super) fn fill(export: &Arc<dyn Export>, pieces: &mut Vec<Option<Vec<u8>>>) {
    loop {
        let (offset, data) = ((pieces.len() * PIECE) as u64, bytes());
        match export.write(&[Write { offset, data: &data }]) {
            Ok(()) => pieces.push(Some(data)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
                // It may be there in part.
                return pieces.push(None);
            }
        }
        assert!(pieces.len() < 600, "the store is full");
    }
}

fn check(export: &Arc<dyn Export>, pieces: &[Option<Vec<u8>>]) {
    for (index, piece) in pieces.iter().enumerate() {
        let found = read(export, (index * PIECE) as u64, PIECE);
        assert!(piece.as_ref().is_none_or(|piece| *piece == found), "piece {index}");
    }
}

#[test]
fn the_fullest_member_counts_and_everything_else_goes_on() {
    let scratch = Scratch::new("full");
    let members = cluster_of(&scratch, 3);
    members[2].store.set_capacity(Some(256 << 20)).unwrap();
    let volume = NewVolume { name: name("db"), size_bytes: LARGE, codec: Codec::Lz4, replicas: 3 };
    members[0].cluster.create(&volume).unwrap();
    members[0].wait_healthy("db");
    let export = members[0].open_volume("db");
    let mut pieces = Vec::new();
    fill(&export, &mut pieces);
    assert!(pieces.len() > 8, "{} pieces fit", pieces.len());
    export.flush().unwrap();
    check(&export, &pieces);
    export.zero(0, PIECE as u64, Zeroing::Hole).unwrap();
    pieces[0] = Some(vec![0; PIECE]);
    export.flush().unwrap();
    check(&export, &pieces);
    // Nobody is left out, but for a moment whose disk is slow.
    members[0].wait_healthy("db");
    // A client at another node is told the same.
    let elsewhere = members[1].open_volume("db");
    fill(&elsewhere, &mut pieces);
    members[2].store.set_capacity(Some(512 << 20)).unwrap();
    let (count, clock) = (pieces.len(), SystemClock::new());
    // A little may have found room before the member says that it has more.
    while pieces[count..].iter().flatten().count() <= 8 {
        assert!(clock.monotonic() < Duration::from_secs(60), "writes go on");
        fill(&export, &mut pieces);
        clock.sleep(Duration::from_millis(20));
    }
    members.iter().for_each(|member| check(&member.open_volume("db"), &pieces));
    drop((export, elsewhere));
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn all_nodes_start_again_with_more_to_apply_than_they_may_hold() {
    let scratch = Scratch::new("all-start");
    let members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let export = members[0].open_volume("db");
    // More than the replicas' share of 128 MiB, and less than what the log is told of at a time.
    let last: Vec<Vec<u8>> = (0..24).map(|_| bytes()).collect();
    for (index, data) in last.iter().enumerate() {
        export.write(&[Write { offset: (index % 8 * PIECE) as u64, data }]).unwrap();
    }
    export.flush().unwrap();
    drop(export);
    let paths: Vec<_> = members.into_iter().map(Member::stop).collect();
    let members: Vec<_> = paths.into_iter().map(Member::open).collect();
    let export = members[1].open_volume("db");
    for (index, data) in last[16..].iter().enumerate() {
        assert!(read(&export, (index * PIECE) as u64, PIECE) == *data, "piece {index}");
    }
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}
