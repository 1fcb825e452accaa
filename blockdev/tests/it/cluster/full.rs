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
fn fill(export: &Arc<dyn Export>, pieces: &mut Vec<Option<Vec<u8>>>) {
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
    let report = members[0].cluster.volume(&name("db")).unwrap();
    assert_eq!(report.health, VolumeHealth::Healthy, "nobody was left out");
    // A client at another node is told the same.
    let elsewhere = members[1].open_volume("db");
    fill(&elsewhere, &mut pieces);
    members[2].store.set_capacity(Some(512 << 20)).unwrap();
    let count = pieces.len();
    // A little one might still have found room before.
    let data = bytes();
    wait_until("writes go on", || export.write(&[Write { offset: (count * PIECE) as u64, data: &data }]).is_ok());
    fill(&export, &mut pieces);
    assert!(pieces.len() > count + 8, "{} pieces more", pieces.len() - count);
    members.iter().for_each(|member| check(&member.open_volume("db"), &pieces));
    drop((export, elsewhere));
    members.into_iter().for_each(|member| drop(member.stop()));
}
