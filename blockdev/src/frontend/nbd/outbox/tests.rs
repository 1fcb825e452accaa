//! Chunks of a read, and sending bit by bit.

use proptest::prelude::*;

use super::*;
use crate::frontend::nbd::wire::transmission::Reply;

fn data(pieces: Vec<Piece>) -> ReadData {
    let mut data = ReadData::default();
    pieces.into_iter().for_each(|piece| data.push(piece));
    data
}

/// Everything in an outbox, taken out as the kernel would: at most `step` bytes a time.
fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !outbox.is_empty() {
        let before = out.len();
        for slice in outbox.slices() {
            out.extend_from_slice(&slice);
        }
        out.truncate(before + step);
        let sent = out.len() - before;
        outbox.advance(sent);
    }
    assert_eq!((outbox.unsent_bytes(), outbox.replies()), (0, 0));
    out
}

/// (type, offset, length, is last) of every chunk.
fn chunks(mut bytes: &[u8]) -> Vec<(ChunkType, u64, usize, bool)> {
    let mut chunks = Vec::new();
    while let Some((Reply::Chunk(header), head_len)) = Reply::decode(bytes).unwrap() {
        let payload = &bytes[head_len..][..header.len as usize];
        bytes = &bytes[head_len + payload.len()..];
        let offset = payload.first_chunk().map_or(0, |offset| u64::from_be_bytes(*offset));
        let len = match HolePayload::decode(payload) {
            Some(hole) if header.kind == ChunkType::OFFSET_HOLE => hole.len as usize,
            _ => payload.len().saturating_sub(8),
        };
        chunks.push((header.kind, offset, len, header.flags.contains(ChunkFlags::DONE)));
    }
    chunks
}

#[test]
fn zeros_become_holes_and_adjacent_data_one_chunk() {
    let bytes = |len| Piece::Bytes(Bytes::from(vec![7; len]));
    let data = data(vec![bytes(4096), bytes(4096), Piece::Zeros(8192), bytes(100), Piece::Zeros(100), bytes(10)]);
    let mut outbox = Outbox::default();
    outbox.push_read(Cookie(1), 4096, &data, ReadStyle::Chunks);
    let sent = drain(&mut outbox, usize::MAX);
    assert_eq!(
        chunks(&sent),
        [
            (ChunkType::OFFSET_DATA, 4096, 8192, false),
            (ChunkType::OFFSET_HOLE, 12288, 8192, false),
            (ChunkType::OFFSET_DATA, 20480, 210, true),
        ]
    );
    outbox.push_read(Cookie(1), 4096, &data, ReadStyle::OneChunk);
    assert_eq!(chunks(&drain(&mut outbox, usize::MAX)), [(ChunkType::OFFSET_DATA, 4096, 16594, true)]);
}

#[test]
fn a_read_of_nothing_is_an_empty_chunk() {
    let mut outbox = Outbox::default();
    outbox.push_read(Cookie(1), 0, &ReadData::default(), ReadStyle::Chunks);
    assert_eq!(chunks(&drain(&mut outbox, usize::MAX)), [(ChunkType::NONE, 0, 0, true)]);
}

fn any_piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        (1_usize..200_000).prop_map(Piece::Zeros),
        (1_usize..600, any::<u8>()).prop_map(|(len, byte)| Piece::Bytes(Bytes::from(vec![byte; len]))),
    ]
}

proptest! {
    #[test]
    fn any_way_of_sending_sends_the_same(
        pieces in prop::collection::vec(any_piece(), 0..40), step in 1_usize..100_000,
    ) {
        let data = data(pieces);
        let mut wanted = SimpleReply { error: None, cookie: Cookie(5) }.encode().to_vec();
        wanted.resize(wanted.len() + data.len(), 0);
        data.copy_to(&mut wanted[SimpleReply::BYTES..]);
        wanted.extend(SimpleReply { error: Some(Errno::IO), cookie: Cookie(6) }.encode());

        let mut outbox = Outbox::default();
        outbox.push_read(Cookie(5), 0, &data, ReadStyle::Simple);
        outbox.push_error(Cookie(6), Errno::IO, None, false);
        prop_assert_eq!(outbox.unsent_bytes(), wanted.len());
        prop_assert!(drain(&mut outbox, step.max(wanted.len() / 500)) == wanted);
    }
}
