//! How a large write is cut into pieces.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::frontend::nbd::wire::Cookie;

fn upload(offset: u64, len: u32) -> Upload {
    let (cookie, received_at) = (Cookie(1), Duration::ZERO);
    Upload::new(Answer { cookie, kind: Kind::Write, offset, len, fua: false, received_at })
}

#[test]
fn little_is_waited_with() {
    let mut upload = upload(0, 1 << 20);
    assert_eq!(upload.take_piece(PIECE_BYTES_MIN - 1), None);
    assert_eq!(upload.take_piece(PIECE_BYTES_MIN + 100), Some((PIECE_BYTES_MIN, 0)));
    assert_eq!(upload.take_piece(1 << 20), Some(((1 << 20) - PIECE_BYTES_MIN, PIECE_BYTES_MIN as u64)));
    assert!(upload.is_complete());
}

proptest! {
    #[test]
    fn pieces_meet_between_blocks_and_cover_the_write(
        offset in 0_u64..1 << 40, len in 1_u32..1 << 25, arrivals in prop::collection::vec(1_usize..300_000, 1..50),
    ) {
        let mut upload = upload(offset, len);
        let (mut received, mut taken) = (0, 0);
        for arrival in arrivals.iter().cycle() {
            received = (received + arrival).min(len as usize);
            while let Some((piece, at)) = upload.take_piece(received - taken) {
                prop_assert_eq!(at, offset + taken as u64);
                prop_assert!(piece <= received - taken);
                taken += piece;
                let end = at + piece as u64;
                prop_assert!(end.is_multiple_of(BLOCK_BYTES as u64) || upload.is_complete());
                if upload.is_complete() {
                    prop_assert_eq!(taken, len as usize);
                    return Ok(());
                }
            }
            // Waiting for what is wanted always leads on.
            prop_assert!(received - taken < upload.wanted_bytes());
        }
    }
}
