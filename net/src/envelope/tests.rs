//! Golden bytes of the envelope and of the transport's own messages; damage.

use super::{Error, Family, Header, Hello, Kind, Message, Opening, Versions, Welcome, take};

fn encode(version: u16, message: &Message) -> Vec<u8> {
    [&Header::encode(version, message.kind, &message.body).unwrap()[..], &message.body].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_envelope() {
    let message = Message::new(Kind::journal(7), b"basalt".to_vec());
    let bytes = encode(1, &message);
    assert_eq!(hex(&bytes), "536c744d0100070306000000c29a69f1626173616c74");
    assert_eq!(take(&bytes, 1), Ok((message, &[][..])));
}

#[test]
fn golden_messages() {
    let versions = Versions { min: 1, max: 2 };
    let hello = Hello { versions, session: 0x0102_0304, index: 1, count: 3, program: "silt 0.1.0".to_owned() };
    assert_eq!(
        hex(&encode(9, &hello.encode())),
        "536c744d0000010020000000017f11f673696c7420302e312e3001000200040302010000000001038a000000e8ffffff"
    );
    assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    let welcome = Welcome { version: 1, program: "silt".to_owned() };
    assert_eq!(hex(&encode(9, &welcome.encode())), "536c744d000002000a00000073deb3ad010073696c74ffffffff");
    assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
    let opening = Opening { class: 2, id: 77 };
    assert_eq!(hex(&encode(9, &opening.encode())), "536c744d00000300090000003f7a8c98024d00000000000000");
    assert_eq!(Opening::decode(&opening.encode()), Ok(opening));
    assert_eq!(Opening::decode(&Message::new(Kind::HELLO, Vec::new())), Err(Error::Misplaced(1)));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = encode(1, &Message::new(Kind::control(1), vec![0x5a; 40]));
    for bit in 0..bytes.len() * 8 {
        let mut wrong = bytes.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(take(&wrong, 1).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert_eq!(take(&bytes[..len], 1), Err(Error::Short));
    }
}

#[test]
fn limits_hold_at_both_ends() {
    for (kind, family) in [
        (Kind::HELLO, Family::Link),
        (Kind::JOIN_REQUEST, Family::Join),
        (Kind::control(255), Family::Control),
        (Kind::journal(0), Family::Journal),
        (Kind::bulk(3), Family::Bulk),
    ] {
        assert_eq!(kind.family(), Some(family));
        let max = family.body_bytes_max();
        let longest = Message::new(kind, vec![1; max as usize]);
        let mut bytes = encode(1, &longest);
        assert!(take(&bytes, 1).is_ok());
        let too_long = Error::TooLong { found: max + 1, max };
        assert_eq!(Header::encode(1, kind, &vec![1; max as usize + 1]), Err(too_long));
        bytes[8..12].copy_from_slice(&(max + 1).to_le_bytes());
        assert_eq!(take(&bytes, 1), Err(too_long));
    }
    assert_eq!(Header::encode(1, Kind(0x0500), &[]), Err(Error::Kind(0x0500)));
}

#[test]
fn versions_are_agreed_on_or_not() {
    let versions = |min, max| Versions { min, max };
    assert_eq!(versions(1, 2).common(versions(2, 3)), Some(2));
    assert_eq!(versions(1, 3).common(versions(1, 2)), Some(2));
    assert_eq!(versions(1, 1).common(versions(2, 3)), None);
    let bytes = encode(2, &Message::new(Kind::control(1), Vec::new()));
    assert_eq!(take(&bytes, 1), Err(Error::Version { found: 2, agreed: 1 }));
}
