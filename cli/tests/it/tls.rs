//! Certificates of a daemon, as the command line gives them, and lists of who may open a volume.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// Writes `NAME.pem` and `NAME.key`.
fn certify(directory: &Path, name: &str) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(directory.join(name).with_extension("pem"), certificate.pem()).unwrap();
    let path = directory.join(name).with_extension("key");
    fs::write(&path, key.serialize_pem()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_daemon_under_tls_says_so_and_needs_no_other_permission() {
    let scratch = Scratch::new("tls");
    certify(scratch.path(), "server");
    let (cert, key) = (scratch.join("server.pem"), scratch.join("server.key"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start_with_tcp(
        &silt,
        &["--listen", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert, "--create", "a=1G"],
    );
    assert_eq!(daemon.ready()["warnings"].as_array().unwrap().len(), 0);
    let uri = |index: usize| silt.json(&["uri", "a"])["uris"][index].as_str().unwrap().to_owned();
    assert!(uri(0).starts_with("nbd+unix:"));
    assert!(uri(1).starts_with("nbds://0.0.0.0:"), "{}", uri(1));
    assert_eq!(daemon.ready()["volumes"][0]["uris"][1], uri(1));
    daemon.stop().expect(0);
    let daemon = Daemon::start_with_tcp(&silt, &["--listen", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key]);
    assert!(daemon.ready()["warnings"][0].as_str().unwrap().contains("--tls-client-ca"));
}

#[test]
fn files_that_cannot_be_used_keep_it_from_starting() {
    let scratch = Scratch::new("tls-files");
    certify(scratch.path(), "server");
    certify(scratch.path(), "other");
    let silt = Silt::new(&scratch.join("data"));
    let serve = |cert: &str, key: &str| {
        let (cert, key) = (scratch.join(cert), scratch.join(key));
        silt.run(&["serve", "--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]).expect(1).stderr
    };
    assert!(serve("nothing.pem", "server.key").contains("nothing.pem"));
    assert!(serve("server.key", "server.key").contains("no certificate"));
    assert!(serve("server.pem", "other.key").contains("does not belong"));
    fs::set_permissions(scratch.join("server.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(serve("server.pem", "server.key").contains("chmod"));
    assert!(!silt.data().exists(), "a refused start leaves no store");
}

#[test]
fn who_may_open_a_volume_is_set_and_shown() {
    let scratch = Scratch::new("allow");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["create", "a", "--size", "1G"]).expect(0);
    silt.run(&["snap", "create", "a@s"]).expect(0);
    let names = |volume: &str| silt.json(&["info", volume])["allow"].to_string();
    assert_eq!(names("a"), "[]");
    let set = silt.run(&["set", "a", "allow=desk,backup.example.org", "quota=1M"]).expect(0);
    assert!(set.text().contains("open to backup.example.org, desk"), "{}", set.text());
    silt.run(&["clone", "a@s", "b"]).expect(0);
    assert_eq!((names("a"), names("a")), (names("b"), r#"["backup.example.org","desk"]"#.into()));
    assert!(silt.run(&["info", "a"]).expect(0).text().contains("backup.example.org, desk"));
    for bad in ["allow=,", "allow=a,,b", "allow= a"] {
        silt.run(&["set", "a", bad]).expect(2);
    }
    silt.run(&["set", "nobody", "allow=desk"]).expect(10);
    let daemon = Daemon::start(&silt, &[]);
    silt.run(&["set", "a", "allow="]).expect(0);
    assert_eq!((names("a"), names("b")), ("[]".into(), r#"["backup.example.org","desk"]"#.into()));
    daemon.stop().expect(0);
}
