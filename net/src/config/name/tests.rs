use rkyv::rancor;

use super::*;

#[test]
fn names_follow_the_grammar_of_volumes() {
    for good in ["a", "0", "db-1.main_x", &"a".repeat(NAME_BYTES_MAX)] {
        assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
    }
    for bad in ["", "-a", ".a", "A", "a b", "a@b", "é", &"a".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(bad.parse::<Name>(), Err(InvalidText::Name), "{bad:?}");
    }
}

#[test]
fn texts_are_printable_and_bounded() {
    for good in ["", "every=10s keep=10s:1h", "[::1]:7000", &"~".repeat(TEXT_BYTES_MAX)] {
        assert_eq!(good.parse::<Text>().unwrap().as_str(), good);
    }
    for bad in ["a\n", "\x1b[31m", "é", &"a".repeat(TEXT_BYTES_MAX + 1)] {
        assert_eq!(bad.parse::<Text>(), Err(InvalidText::Text), "{bad:?}");
    }
}

#[test]
fn identities_are_what_a_certificate_can_hold() {
    for good in ["a", "Backup Team é", "spiffe://x/y", &"é".repeat(127)] {
        assert_eq!(good.parse::<Identity>().unwrap().as_str(), good);
    }
    for bad in ["", "a\n", "a\0", "a,b", " a", "a ", &"a".repeat(IDENTITY_BYTES_MAX + 1)] {
        assert_eq!(bad.parse::<Identity>(), Err(InvalidText::Identity), "{bad:?}");
    }
}

#[test]
fn what_breaks_the_grammar_is_not_read() {
    let bytes = rkyv::to_bytes::<rancor::Error>(&"Not A Name".to_owned()).unwrap();
    assert!(rkyv::from_bytes::<Name, rancor::Error>(&bytes).is_err());
    assert_eq!(rkyv::from_bytes::<Text, rancor::Error>(&bytes).unwrap().as_str(), "Not A Name");
}
