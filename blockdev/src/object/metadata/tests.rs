use super::*;

fn metadata(pairs: &[(&str, &str)]) -> Result<Metadata, InvalidMetadata> {
    Metadata::new(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
}

fn encoded(metadata: &Metadata) -> Vec<u8> {
    let mut bytes = Vec::new();
    metadata.encode(&mut bytes);
    bytes
}

#[test]
fn metadata_has_these_bytes_and_comes_back() {
    let metadata = metadata(&[("host", "db1"), ("a", "")]).unwrap();
    let bytes = encoded(&metadata);
    assert_eq!(bytes, b"\x01\0\0a\x04\x03\0hostdb1");
    assert_eq!(Metadata::decode(&bytes), Some(metadata));
    assert_eq!(Metadata::decode(b""), Some(Metadata::default()));
}

#[test]
fn bounds_are_kept() {
    let value = "v".repeat(1024);
    assert!(metadata(&[(&"k".repeat(128), &value)]).is_ok());
    for key in ["", "a=b", "a\n", &"k".repeat(129)] {
        assert_eq!(metadata(&[(key, "")]), Err(InvalidMetadata::Key), "{key:?}");
    }
    for value in ["\t", &"v".repeat(1025)] {
        assert_eq!(metadata(&[("a", value)]), Err(InvalidMetadata::Value("a".into())), "{value:?}");
    }
    let keys: Vec<_> = (0..65).map(|key| key.to_string()).collect();
    let many: Vec<_> = keys.iter().map(|key| (key.as_str(), "")).collect();
    assert!(metadata(&many[..64]).is_ok());
    assert_eq!(metadata(&many), Err(InvalidMetadata::TooMuch));
    let large: Vec<_> = keys[..8].iter().map(|key| (key.as_str(), value.as_str())).collect();
    assert_eq!(metadata(&large), Err(InvalidMetadata::TooMuch));
}

#[test]
fn what_is_not_metadata_is_refused() {
    let good = encoded(&metadata(&[("a", "1"), ("b", "2")]).unwrap());
    for len in 1..good.len() {
        let is_first_pair = len == 5;
        assert_eq!(Metadata::decode(&good[..len]).is_some(), is_first_pair, "cut at {len}");
    }
    for bytes in [&b"\x01\x01\0b2\x01\x01\0a1"[..], b"\x01\0\0a\x01\0\0a", b"\0\0\0", b"\x01\0\0\xff", b"\x01\0\0="] {
        assert_eq!(Metadata::decode(bytes), None, "{bytes:?}");
    }
}
