//! Files that a listener can use, and what is said of those it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lsm_store::clock::SystemClock;

use super::*;
use crate::tls::testing::Authority;

fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
    Tls::load(files, Arc::new(SystemClock::new()))
}

#[test]
fn files_that_belong_together_are_fine() {
    let authority = Authority::new("fine");
    assert!(!load(&authority.files(None)).unwrap().asks_clients());
    assert!(load(&authority.files(Some(&authority))).unwrap().asks_clients());
}

#[test]
fn missing_and_wrong_files_are_named() {
    let authority = Authority::new("named");
    let files = authority.files(Some(&authority));
    fs::set_permissions(&files.certificate, fs::Permissions::from_mode(0o600)).unwrap();
    let message = |files: &TlsFiles| load(files).unwrap_err().to_string();
    let missing = authority.file("nothing.pem");
    for files in [
        TlsFiles { certificate: missing.clone(), ..files.clone() },
        TlsFiles { key: missing.clone(), ..files.clone() },
        TlsFiles { client_authorities: Some(missing.clone()), ..files.clone() },
    ] {
        assert!(matches!(load(&files), Err(TlsError::Read { file, .. }) if file == missing));
    }
    for (files, part) in [
        (TlsFiles { certificate: files.key.clone(), ..files.clone() }, Part::Certificate),
        (TlsFiles { key: files.certificate.clone(), ..files.clone() }, Part::Key),
        (TlsFiles { client_authorities: Some(files.key.clone()), ..files.clone() }, Part::Authorities),
    ] {
        assert!(matches!(load(&files), Err(TlsError::Missing { part: found, .. }) if found == part));
        assert!(message(&files).contains(&part.to_string()), "{}", message(&files));
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new("mismatch");
    authority.certify("other", "other", &["localhost"]);
    let files = TlsFiles { key: authority.file("other.key"), ..authority.files(None) };
    assert!(matches!(load(&files), Err(TlsError::Mismatch)));
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    let authority = Authority::new("exposed");
    let files = authority.files(None);
    for (mode, fine) in [(0o644, false), (0o602, false), (0o604, false), (0o640, true), (0o600, true), (0o400, true)] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load(&files);
        assert_eq!(loaded.is_ok(), fine, "{mode:o}");
        assert!(fine || matches!(loaded, Err(TlsError::KeyExposed(_))));
    }
}

#[test]
fn damaged_and_huge_files_are_refused() {
    let authority = Authority::new("damaged");
    let files = authority.files(Some(&authority));
    let whole = fs::read(&files.certificate).unwrap();
    for len in 0..whole.len() - 2 {
        fs::write(&files.certificate, &whole[..len]).unwrap();
        assert!(load(&files).is_err(), "cut at {len}");
    }
    fs::write(&files.certificate, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(load(&files), Err(TlsError::Unusable(_))));
    let authorities = files.client_authorities.clone().unwrap();
    fs::copy(&files.certificate, &authorities).unwrap();
    fs::write(&files.certificate, &whole).unwrap();
    assert!(matches!(load(&files), Err(TlsError::Authority { .. })));
    fs::write(&authorities, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(matches!(load(&files), Err(TlsError::Read { .. })));
}
