//! Authority, certificates and their files.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;
use zeroize::Zeroizing;

use super::handing::handed;
use super::stored::Stored;
use super::{
    Authority, ClusterId, Credentials, Directory, Error, Folder, Issued, MemoryFolder, NODE_VALIDITY, NodeId, NodeKey,
    ask_authority, ask_next_authority, hand_authority, node_name, peer_node, take_authority, verifier::verify_chain,
};
use crate::envelope::Message;
use crate::environment::SystemRng;

const NOW: Duration = Duration::from_secs(1_795_000_000);

fn authority() -> Authority {
    Authority::create(&MemoryFolder::default(), &SystemRng).unwrap()
}

fn issue(authority: &Authority, node: u64) -> (NodeKey, Issued) {
    let key = NodeKey::generate().unwrap();
    let issued = authority.issue(NodeId(node), key.public(), NOW, &SystemRng).unwrap();
    (key, issued)
}

#[test]
fn golden_file() {
    let stored = Stored {
        cluster: ClusterId([7; 16]),
        key: Zeroizing::new(vec![1, 2, 3]),
        certificate: vec![4; 2],
        authority: vec![5],
    };
    let bytes = stored.encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "53696c744964656e0100000000000000070707070707070707070707070707070300000001020302000000040401000000057edaf193"
    );
    let read = Stored::decode("node", &bytes).unwrap();
    assert_eq!(
        (read.cluster, &*read.key, read.certificate, read.authority),
        (stored.cluster, &*stored.key, vec![4; 2], vec![5])
    );
    for bit in 0..bytes.len() * 8 {
        let mut wrong = bytes.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(Stored::decode("node", &wrong).is_err(), "bit {bit}");
    }
    let mut newer = bytes.to_vec();
    newer[8] = 2;
    assert!(matches!(Stored::decode("node", &newer), Err(Error::Version { found: 2, .. })));
    for len in 0..bytes.len() {
        assert!(matches!(Stored::decode("node", &bytes[..len]), Err(Error::Damaged { .. })));
    }
}

#[test]
fn the_authority_is_made_once_and_read_again() {
    let folder = MemoryFolder::default();
    assert!(Authority::load(&folder).unwrap().is_none());
    let made = Authority::create(&folder, &SystemRng).unwrap();
    assert!(matches!(Authority::create(&folder, &SystemRng), Err(Error::Exists { .. })));
    let read = Authority::load(&folder).unwrap().unwrap();
    assert_eq!((read.cluster(), read.fingerprint()), (made.cluster(), made.fingerprint()));
    // What the one read again signs holds under the certificate that was made first.
    let (key, issued) = issue(&read, 3);
    assert_eq!(key.with_certificate(issued, NOW).unwrap().authority_fingerprint(), made.fingerprint());
}

#[test]
fn certificates_hold_for_their_node_cluster_key_and_time() {
    let (ours, other) = (authority(), authority());
    let (key, issued) = issue(&ours, 3);
    let certificate = CertificateDer::from(issued.certificate.clone());
    let holds = |authority: &[u8], now| {
        let authority = CertificateDer::from(authority.to_vec());
        verify_chain(&certificate, &authority, UnixTime::since_unix_epoch(now), KeyUsage::client_auth())
    };
    assert!(holds(&issued.authority, NOW).is_ok());
    assert!(holds(&issued.authority, NOW + NODE_VALIDITY).is_ok());
    let expired = holds(&issued.authority, NOW + NODE_VALIDITY + Duration::from_secs(1));
    assert!(matches!(expired, Err(Error::Untrusted(webpki::Error::CertExpired { .. }))));
    let early = holds(&issued.authority, NOW - Duration::from_secs(25 * 3600));
    assert!(matches!(early, Err(Error::Untrusted(webpki::Error::CertNotValidYet { .. }))));
    assert!(matches!(holds(&issue(&other, 3).1.authority, NOW), Err(Error::Untrusted(_))));
    assert_eq!(peer_node(ours.cluster(), &certificate).unwrap(), NodeId(3));
    assert!(matches!(peer_node(other.cluster(), &certificate), Err(Error::Name { .. })));
    assert!(matches!(peer_node(ours.cluster(), &issued.authority.clone().into()), Err(Error::Name { .. })));
    let for_another = NodeKey::generate().unwrap().with_certificate(issued.clone(), NOW);
    assert!(matches!(for_another, Err(Error::Name { .. })));
    let of_another = Issued { node: NodeId(4), ..issued };
    assert!(matches!(key.with_certificate(of_another, NOW), Err(Error::Name { .. })));
}

#[test]
fn names_have_one_spelling() {
    let cluster = ClusterId([0x0a; 16]);
    assert_eq!(node_name(cluster, NodeId(7)), "node-7.0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a.siltstone");
    let (a, b) = (issue(&authority(), u64::MAX).1, issue(&authority(), 1).1);
    let serial = |issued: &Issued| {
        let certificate = CertificateDer::from(issued.certificate.clone());
        webpki::EndEntityCert::try_from(&certificate).unwrap().serial().to_vec()
    };
    assert_eq!(serial(&a).len(), 16);
    assert_ne!(serial(&a), serial(&b));
    assert_eq!(peer_node(a.cluster, &a.certificate.into()).unwrap(), NodeId(u64::MAX));
}

#[test]
fn credentials_are_kept_renewed_and_not_mixed_up() {
    let (authority, folder) = (authority(), MemoryFolder::default());
    assert!(Credentials::load(&folder).unwrap().is_none());
    let (key, issued) = issue(&authority, 3);
    let first = key.with_certificate(issued, NOW).unwrap();
    assert_eq!(first.expires(), NOW + NODE_VALIDITY);
    assert_eq!(first.renew_at(), NOW + NODE_VALIDITY * 2 / 3);
    first.store(&folder).unwrap();
    assert!(matches!(first.store(&folder), Err(Error::Exists { .. })));
    let later = NOW + NODE_VALIDITY * 2;
    let key = NodeKey::generate().unwrap();
    let issued = authority.issue(NodeId(3), key.public(), later, &SystemRng).unwrap();
    key.with_certificate(issued, later).unwrap().store_renewed(&folder).unwrap();
    let read = Credentials::load(&folder).unwrap().unwrap();
    assert_eq!((read.node(), read.cluster(), read.expires()), (NodeId(3), authority.cluster(), later + NODE_VALIDITY));
    let (key, issued) = issue(&authority, 4);
    let other = key.with_certificate(issued, NOW).unwrap();
    assert!(matches!(other.store_renewed(&folder), Err(Error::Name { .. })));
}

#[test]
fn a_directory_keeps_secrets_to_its_owner() {
    let path = std::env::temp_dir().join(format!("siltstone-identity-{}", std::process::id()));
    // What an earlier run with this process id may have left.
    let _ = std::fs::remove_dir_all(&path);
    let folder = Directory::open(&path).unwrap();
    assert!(folder.read("node").unwrap().is_none());
    folder.create("node", b"one").unwrap();
    assert_eq!(folder.create("node", b"two").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(&folder.read("node").unwrap().unwrap()[..], b"one");
    folder.replace("node", b"three").unwrap();
    let folder = Directory::open(&path).unwrap();
    assert_eq!(&folder.read("node").unwrap().unwrap()[..], b"three");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("node"))), (0o700, 0o600));
    folder.remove("long").unwrap();
    std::fs::write(path.join("long"), vec![0; 70_000]).unwrap();
    assert_eq!(folder.read("long").unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_certificate_can_be_made_anew_for_the_same_key() {
    let (authority, folder) = (authority(), MemoryFolder::default());
    let (key, issued) = issue(&authority, 3);
    let old = key.with_certificate(issued, NOW).unwrap();
    let later = NOW + NODE_VALIDITY * 3;
    assert!(old.is_valid(NOW) && !old.is_valid(later) && !old.is_valid(NOW - NODE_VALIDITY));
    let new = old.reissued(&authority, later, &SystemRng).unwrap();
    assert!(new.is_valid(later));
    assert_eq!((new.node(), new.public_key().unwrap()), (NodeId(3), old.public_key().unwrap()));
    assert_eq!(new.expires(), later + NODE_VALIDITY);
    // What is to take the place of another is kept beside it.
    old.store(&folder).unwrap();
    assert!(Credentials::load_next(&folder).unwrap().is_none());
    new.store_next(&folder).unwrap();
    assert_eq!(Credentials::load(&folder).unwrap().unwrap().expires(), old.expires());
    assert_eq!(Credentials::load_next(&folder).unwrap().unwrap().expires(), new.expires());
}

#[test]
fn only_the_node_s_own_authority_is_taken() {
    let (ours, other) = (authority(), authority());
    let (key, issued) = issue(&ours, 3);
    let own = key.with_certificate(issued, NOW).unwrap();
    let taken = take_authority(&hand_authority(Some(&ours)), own.authority()).unwrap().unwrap();
    let folder = MemoryFolder::default();
    taken.store(&folder).unwrap();
    let (key, issued) = issue(&Authority::load(&folder).unwrap().unwrap(), 4);
    assert!(key.with_certificate(issued, NOW).unwrap().is_valid(NOW));
    assert!(matches!(taken.store(&folder), Err(Error::Exists { .. })));
    assert!(take_authority(&hand_authority(None), own.authority()).unwrap().is_none());
    assert!(matches!(take_authority(&hand_authority(Some(&other)), own.authority()), Err(Error::Name { .. })));
    // The right certificate with a key that is not its own.
    let mut forged = Stored::decode("", &other.encode()).unwrap();
    forged.certificate = Stored::decode("", &ours.encode()).unwrap().certificate;
    let forged = Authority::decode(&forged.encode(), own.authority());
    assert!(matches!(forged, Err(Error::Name { .. })));
    let mut cut = hand_authority(Some(&ours));
    cut.body.truncate(40);
    assert!(matches!(take_authority(&cut, own.authority()), Err(Error::Damaged { .. })));
    assert!(matches!(take_authority(&ask_authority(), own.authority()), Err(Error::Damaged { .. })));
}

#[test]
fn another_authority_takes_the_place_of_the_one_in_force() {
    let folder = MemoryFolder::default();
    let first = Authority::create(&folder, &SystemRng).unwrap();
    let (key, issued) = issue(&first, 3);
    let old = key.with_certificate(issued, NOW).unwrap();
    let next = Authority::draw(first.cluster(), &SystemRng).unwrap();
    assert_ne!(next.fingerprint(), first.fingerprint());
    next.store_next(&folder).unwrap();
    old.store_former_authority(&folder).unwrap();
    let new = old.reissued(&Authority::load_next(&folder).unwrap().unwrap(), NOW, &SystemRng).unwrap();
    assert_eq!((new.node(), new.public_key().unwrap()), (old.node(), old.public_key().unwrap()));
    assert!(new.is_valid(NOW));
    assert_eq!(new.authority_fingerprint(), next.fingerprint());
    assert_eq!(Credentials::load_former_authority(&folder).unwrap().as_deref(), Some(first.certificate()));
    // Whichever certificate the node has, it finds the authority of that.
    let of = |credentials: &Credentials| Authority::load_of(&folder, credentials).unwrap().map(|it| it.fingerprint());
    assert_eq!((of(&old), of(&new)), (Some(first.fingerprint()), Some(next.fingerprint())));
    next.store_in_force(&folder).unwrap();
    Authority::forget_next(&folder).unwrap();
    Credentials::forget_former_authority(&folder).unwrap();
    Credentials::forget_former_authority(&folder).unwrap();
    assert_eq!((of(&old), of(&new)), (None, Some(next.fingerprint())));
    assert_eq!(Credentials::load_former_authority(&folder).unwrap(), None);
    assert!(Authority::load_next(&folder).unwrap().is_none());
}

#[test]
fn golden_handing() {
    assert_eq!((ask_next_authority().kind.0, ask_next_authority().body.len()), (0x0206, 0));
    let hex = |message: &Message| message.body.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((ask_authority().kind.0, hex(&ask_authority())), (0x0202, String::new()));
    let nothing = hand_authority(None);
    assert_eq!((nothing.kind.0, hex(&nothing)), (0x0203, "000000000000000000".to_owned()));
    assert_eq!(hex(&handed(Some(vec![1, 2, 3]))), "01020301fcffffff03000000");
}
