use std::io::{Read, Write};

use super::*;

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("silt-socket-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn greets(path: &Path) {
    let listener = bind(path, 0o600).unwrap();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    connect(path).unwrap().write_all(b"hello").unwrap();
    let mut greeting = String::new();
    listener.accept().unwrap().0.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "hello");
}

#[test]
fn paths_of_any_length_work() {
    let scratch = Scratch::new("long");
    greets(&scratch.0.join("short.sock"));
    let deep = scratch.0.join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let long = deep.join("long.sock");
    assert!(!is_reachable(&long));
    greets(&long);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let scratch = Scratch::new("stale");
    let path = scratch.0.join("a.sock");
    drop(bind(&path, 0o600).unwrap());
    assert!(path.exists());
    let live = bind(&path, 0o600).unwrap();
    assert_eq!(bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(live);
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    let scratch = Scratch::new("file");
    let path = scratch.0.join("a.sock");
    fs::write(&path, "precious").unwrap();
    assert_eq!(bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_connection_is_quiet_until_the_other_end_speaks_or_leaves() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    assert!(is_quiet(&ours));
    theirs.write_all(b"x").unwrap();
    assert!(!is_quiet(&ours));
    (&ours).read_exact(&mut [0]).unwrap();
    assert!(is_quiet(&ours));
    drop(theirs);
    assert!(!is_quiet(&ours));
}
