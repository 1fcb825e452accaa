//! The library connected to a daemon behaves as one with the store in its own process does.

use siltstone::{ErrorKind, Options, Store, VolumeOptions};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

#[path = "../../../tests/it/behaviour.rs"]
mod behaviour;

#[test]
#[expect(clippy::print_stdout, reason = "says which behaviour failed")]
fn it_behaves() {
    let scratch = Scratch::new("library");
    for (name, behave) in behaviour::ALL {
        println!("{name}");
        let silt = Silt::new(&scratch.join(name));
        let daemon = Daemon::start(&silt, &[]);
        let store = Store::connect(silt.data()).unwrap();
        behave(&store);
        store.close().unwrap();
        daemon.stop().expect(0);
    }
}

#[test]
fn a_served_store_is_busy_and_says_how_to_share_it() {
    let scratch = Scratch::new("library-busy");
    let silt = Silt::new(&scratch.join("data"));
    let _daemon = Daemon::start(&silt, &[]);
    for opened in [Store::open(silt.data()), Store::open_or_create(silt.data()), Store::create(silt.data())] {
        let refused = opened.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Busy | ErrorKind::Exists), "{refused}");
    }
    let refused = Store::open(silt.data()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert!(refused.to_string().contains("Store::connect"), "{refused}");
}

#[test]
fn without_a_daemon_there_is_nothing_to_connect_to() {
    let scratch = Scratch::new("library-none");
    assert_eq!(Store::connect(scratch.join("nowhere")).unwrap_err().kind(), ErrorKind::Unavailable);
    Options::new().memory_bytes(128 << 20).create(scratch.join("data")).unwrap().close().unwrap();
    let refused = Store::connect(scratch.join("data")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("Store::open"), "{refused}");
}

#[test]
fn a_tool_works_with_and_without_a_daemon() {
    let scratch = Scratch::new("library-either");
    let silt = Silt::new(&scratch.join("data"));
    let options = Options::new().memory_bytes(128 << 20);
    assert_eq!(options.connect_or_open(silt.data()).unwrap_err().kind(), ErrorKind::NotFound);
    let daemon = Daemon::start(&silt, &["--create", "disk=1M"]);
    let stores = [options.connect_or_open(silt.data()).unwrap(), options.connect_or_open(silt.data()).unwrap()];
    for store in &stores {
        assert_eq!(store.volume_info("disk").unwrap().size_bytes, 1 << 20);
    }
    daemon.stop().expect(0);
    let store = options.connect_or_open(silt.data()).unwrap();
    assert_eq!(store.volume_info("disk").unwrap().size_bytes, 1 << 20);
    assert_eq!(options.connect_or_open(silt.data()).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn a_daemon_that_dies_is_unavailable_and_its_store_opens() {
    let scratch = Scratch::new("library-dies");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let store = Store::connect(silt.data()).unwrap();
    let volume = store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap();
    volume.write_at(3, b"flushed").unwrap();
    volume.flush().unwrap();
    daemon.kill();
    assert_eq!(volume.read_at(0, &mut [0; 10]).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(volume.flush().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.volumes().unwrap_err().kind(), ErrorKind::Unavailable);
    drop(volume);

    let daemon = Daemon::start(&silt, &[]);
    assert_eq!(store.volumes().unwrap().len(), 1, "a store outlives its daemon");
    let mut buf = [0; 7];
    store.volume("disk").unwrap().read_at(3, &mut buf).unwrap();
    assert_eq!(&buf, b"flushed");
    daemon.stop().expect(0);
    let embedded = Options::new().memory_bytes(128 << 20).open(silt.data()).unwrap();
    embedded.volume("disk").unwrap().read_at(3, &mut buf).unwrap();
    assert_eq!(&buf, b"flushed");
}

#[test]
fn long_paths_are_connected_to() {
    let scratch = Scratch::new("library-long");
    let silt = Silt::new(&scratch.join(&"d".repeat(120)));
    let _daemon = Daemon::start(&silt, &["--create", "disk=1M"]);
    let volume = Store::connect(silt.data()).unwrap().volume("disk").unwrap();
    volume.write_at(0, b"far away").unwrap();
}
