use zerocopy::IntoBytes;

use super::*;
use crate::checksum::{PAGE_BYTES, Seal};
use crate::segment::frame::FRAME_KIND;
use crate::segment::slot_table::SlotTableBuilder;
use crate::segment::trailer::{self, FOOTER_KIND, Footer, HEADER_KIND, IdentityV1};

/// Header or footer: what lies before the zeros that fill the page up.
const HEADER: &[u8] = b"SILTSEGH\x01\0\0\0\x02\0\0\0a store of tests\x04\x03\x02\x01\0\0\0\0\
    \x05\0\0\0\0\0\0\0\x7b\xe5\xcf\x8b\x8b\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn golden_identity() -> Identity {
    let created = Duration::from_millis(0x018b_8bcf_e57b);
    Identity { id: SegmentId(0x0102_0304), epoch: Epoch(5), class: Class::Survivor, domain: 0, created }
}

/// A page of `start` and zeros, sealed.
fn page(kind: crate::checksum::Kind, offset: u64, start: &[u8]) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    page[..start.len()].copy_from_slice(start);
    Seal::new(STORE, kind, 0x0102_0304).seal_page(offset, &mut page);
    page
}

#[test]
fn golden_header() {
    let identity = golden_identity();
    let encoded = trailer::encode_header(STORE, &identity);
    assert_eq!(encoded, page(HEADER_KIND, 0, HEADER));
    assert_eq!(trailer::decode_header(STORE, identity.id, &encoded).unwrap(), identity);
}

#[test]
fn golden_footer() {
    let geometry = Geometry::new(2000, 0x2345).unwrap();
    let digest: [u8; 32] = std::array::from_fn(|at| at as u8);
    let footer = Footer { identity: golden_identity(), geometry, frames: 130, blocks: 1999, directory_digest: digest };
    let encoded = trailer::encode_footer(STORE, &footer);
    let counts =
        b"\xd0\x07\0\0\x82\0\0\0\xcf\x07\0\0\x45\x23\0\0\0\x30\0\0\x02\0\0\0\0\x50\0\0\x10\0\0\0\0\x60\x01\0\0\0\0\0";
    let start = [b"SILTSEGF", &HEADER[8..], counts, &digest].concat();
    assert_eq!(encoded, page(FOOTER_KIND, 0x15000, &start));
    assert_eq!(trailer::decode_footer(STORE, SegmentId(0x0102_0304), 0x15000, &encoded).unwrap(), footer);
}

#[test]
fn golden_frame() {
    let seal = Seal::new(STORE, FRAME_KIND, 1);
    let stored = Stored { encoding: Encoding::Lz4, bytes: b"payload" };
    let header = frame::encode_header(&seal, 0x1000, 3, &stored);
    assert_eq!(header[4..], [1, 2, 7, 0]);
    assert_eq!(header[..4], seal.checksum(0x1000, &[b"\x01\x02\x07\0payload"]).to_le_bytes());
    let place = FramePlace { offset: 0x1000, len: 15, first: Slot(4), blocks: 3 };
    let bytes = [&header[..], stored.bytes].concat();
    assert_eq!(frame::decode(&seal, &place, &bytes).unwrap(), Frame { blocks: 3, stored });
    assert!(frame::decode(&seal, &FramePlace { blocks: 2, ..place }, &bytes).is_err());
}

#[test]
fn golden_slot_table() {
    let mut builder = SlotTableBuilder::default();
    for _ in 0..63 {
        builder.push(0x101, 1);
    }
    builder.push(0x202, 3);
    builder.push(0x303, 1);
    let pages: Vec<_> = builder.pages().collect();
    let page = &pages[0];
    let anchors = [0x1000_u32, 0x1000 + 63 * 0x101 + 0x202];
    assert_eq!(page[..8], anchors.map(u32::to_le_bytes).concat());
    assert!(page[8..124].iter().all(|byte| *byte == 0), "no anchors behind the last slot");
    assert_eq!(page[124..126], [1, 1]);
    assert_eq!(page[124 + 2 * 63..124 + 2 * 67], [0x02, 0x02, 0xf1, 0xff, 0xf2, 0xff, 0x03, 0x03]);
    assert!(page[124 + 2 * 67..].iter().all(|byte| *byte == 0));
}

#[test]
fn golden_fingerprint_page() {
    let fingerprints: Vec<_> = (0..128).map(|number| Fingerprint([number; 32])).collect();
    let pages: Vec<_> = fingerprint_page::pages(&fingerprints).collect();
    assert_eq!(pages.len(), 2);
    assert_eq!(pages[0][126 * 32..127 * 32], [126; 32]);
    assert!(pages[0][127 * 32..].iter().all(|byte| *byte == 0));
    assert_eq!(pages[1][..32], [127; 32]);
}

/// Seals a header of which `edit` changed something.
fn decode_edited(edit: impl FnOnce(&mut IdentityV1)) -> crate::Result<Identity> {
    let mut page = trailer::encode_header(STORE, &golden_identity());
    edit(zerocopy::FromBytes::mut_from_bytes(&mut page[..size_of::<IdentityV1>()]).unwrap());
    Seal::new(STORE, HEADER_KIND, 0x0102_0304).seal_page(0, &mut page);
    trailer::decode_header(STORE, SegmentId(0x0102_0304), &page)
}

#[test]
fn newer_formats_are_refused_as_such() {
    let kind = |edit: fn(&mut IdentityV1)| decode_edited(edit).unwrap_err().kind();
    assert_eq!(kind(|identity| identity.version = 2.into()), ErrorKind::Unsupported);
    assert_eq!(kind(|identity| identity.features_incompat = 4.into()), ErrorKind::Unsupported);
    assert_eq!(kind(|identity| identity.class = 4), ErrorKind::Unsupported);
    assert_eq!(kind(|identity| identity.magic[0] = b'X'), ErrorKind::Corrupt);
    assert_eq!(decode_edited(|identity| identity.class = 3).unwrap().class, Class::Cold);
    assert!(decode_edited(|identity| identity.features_compat = 4.into()).is_ok());
    assert!(decode_edited(|identity| identity.features_ro_compat = 4.into()).is_ok());
}

proptest! {
    #[test]
    fn identities_and_footers_round_trip(
        id in any::<u32>(), epoch in any::<u64>(), class in 0_u8..3, domain in any::<u32>(), created in 0_u64..1 << 50,
        slots in 0_u32..=SLOTS_MAX, frame_bytes in 0_u32..31 << 20, frames in any::<u32>(), blocks in any::<u32>(),
    ) {
        let class = Class::from_byte(class).unwrap();
        let created = Duration::from_millis(created);
        let identity = Identity { id: SegmentId(id), epoch: Epoch(epoch), class, domain, created };
        let header = trailer::encode_header(STORE, &identity);
        prop_assert_eq!(trailer::decode_header(STORE, identity.id, &header).unwrap(), identity);
        let Some(geometry) = Geometry::new(slots, 4096 + frame_bytes) else { return Ok(()) };
        let footer = Footer { identity, geometry, frames, blocks, directory_digest: [7; 32] };
        let page = trailer::encode_footer(STORE, &footer);
        let offset = geometry.footer_offset().into();
        prop_assert_eq!(trailer::decode_footer(STORE, identity.id, offset, &page).unwrap(), footer);
        prop_assert!(trailer::decode_footer(STORE, identity.id, offset + 4096, &page).is_err());
    }
}

#[test]
fn identities_have_no_hidden_bytes() {
    assert_eq!(trailer::encode_header(STORE, &golden_identity()).as_bytes().len(), PAGE_BYTES);
    assert_eq!(size_of::<IdentityV1>(), HEADER.len());
}
