use net::envelope::Kind;

use super::*;

/// Kinds in `docs/protocol.md` that nodes say to each other, but for the agreement's and those of joining, which need keys.
const KINDS: [(u16, std::ops::RangeInclusive<u16>); 7] = [
    (0x0000, 1..=3),
    (0x0300, 1..=9),
    (0x0300, 0x40..=0x41),
    (0x0400, 1..=5),
    (0x0400, 0x20..=0x21),
    (0x0400, 0x81..=0x85),
    (0x0400, 0xff..=0xff),
];

#[test]
fn every_kind_is_among_the_sound_ones() {
    let golden = golden();
    for (family, kinds) in KINDS {
        for kind in kinds.map(|low| Kind(family | low)) {
            assert!(golden.iter().any(|message| message.kind == kind), "there is no {kind:?}");
        }
    }
}

#[test]
fn sound_messages_are_read() {
    for message in golden() {
        read(&message);
        let is_read = wire::decode(&message).is_ok()
            || Question::decode(&message).is_ok()
            || Answer::decode(&message).is_ok()
            || Lend::decode(&message).is_ok()
            || Lent::decode(&message).is_ok()
            || installation::Question::decode(&message).is_ok()
            || installation::Answer::decode(&message).is_ok()
            || forward::decode_question(&message).is_ok()
            || forward::decode_answer(&message).is_ok()
            || message.kind.0 < 0x0100;
        assert!(is_read, "{message:?} is not read");
    }
}

#[test]
fn edited_messages_are_read_or_refused() {
    let golden = golden();
    for choice in 0..golden.len() as u8 {
        for place in 0..=255 {
            for kind in 0..5 {
                try_script(&golden, &[choice, kind, place % 5, place, 0, 0, 0xff, 0x01, place]);
            }
        }
    }
}

#[test]
fn a_packed_record_has_more_than_one_sound_form() {
    let packed = packed_operations(32 << 10);
    assert!(packed.len() < 16 << 10, "a record of {} bytes is not packed", packed.len());
    let longer = Bytes::from([&packed[..], &[0]].concat());
    assert_eq!(operation::decode(&longer), operation::decode(&packed));
    read_operations(&longer);
}
