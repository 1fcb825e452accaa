use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

/// A pair of an identifier and a string, in a set of its own.
fn attribute(identifier: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let pair = [wrap(OBJECT_IDENTIFIER, identifier), wrap(tag, value)].concat();
    wrap(SET, &wrap(SEQUENCE, &pair))
}

#[test]
fn names_come_from_the_subject_and_the_alternatives() {
    let mut params = CertificateParams::new(["DB.Example.org".to_owned(), "*.example.org".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, "backup server");
    params.subject_alt_names.push(SanType::URI("spiffe://example.org/Backup".try_into().unwrap()));
    params.subject_alt_names.push(SanType::Rfc822Name("root@example.org".try_into().unwrap()));
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(
        names(certificate.der()),
        ["*.example.org", "backup server", "db.example.org", "spiffe://example.org/Backup"]
    );
}

#[test]
fn only_whole_common_names_that_a_list_can_hold_count() {
    let subject = [
        attribute(COMMON_NAME, 0x0c, "ä".as_bytes()),
        attribute(&[0x55, 0x04, 0x0a], 0x0c, b"organization"),
        attribute(COMMON_NAME, 0x13, b"printable"),
        attribute(COMMON_NAME, 0x1e, b"\0b\0m\0p"),
        attribute(COMMON_NAME, 0x0c, b"\xff"),
    ]
    .concat();
    assert_eq!(common_names(&subject), ["ä", "printable"]);
    assert!(common_names(&subject[..subject.len() - 1]).is_empty(), "a subject cut short has none");
    assert!(common_names(&[&subject[..], &[0x30, 0]].concat()).is_empty(), "nor one with something else in it");
    assert!(names(&CertificateDer::from(&b"no certificate"[..])).is_empty());
}

/// A name that ends in a NUL for one reader and goes on for another is the classic way to be somebody else.
#[test]
fn names_with_control_characters_do_not_count() {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "backup\0.evil.example");
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert!(names(certificate.der()).is_empty());
}

#[test]
fn long_names_are_read_by_their_lengths() {
    for len in [0x7f, 0x80, 0xff] {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "x".repeat(len));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(names(certificate.der()), ["x".repeat(len)]);
    }
}

proptest! {
    #[test]
    fn random_subjects_never_panic(bytes: Vec<u8>, cut: prop::sample::Index, value: u8) {
        common_names(&bytes);
        let mut subject = [attribute(COMMON_NAME, 0x0c, b"a"), attribute(COMMON_NAME, 0x13, b"b")].concat();
        let at = cut.index(subject.len());
        subject[at] = value;
        common_names(&subject);
        names(&CertificateDer::from(bytes));
    }
}
