//! A store in this process: opening and closing, and what holds for every store.

use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use siltstone::store::clock::{Clock, SystemClock};
use siltstone::{ErrorKind, Options, ReceiveOptions, Store, VolumeOptions, unwatched};

use crate::behaviour;
use crate::scratch::Scratch;

fn options() -> Options {
    Options::new().memory_bytes(128 << 20)
}

#[test]
#[expect(clippy::print_stdout, reason = "says which behaviour failed")]
fn it_behaves() {
    let scratch = Scratch::new("behaviour");
    for (name, behave) in behaviour::ALL {
        println!("{name}");
        let store = options().create(scratch.join(name)).unwrap();
        behave(&store);
        store.close().unwrap();
    }
}

#[test]
fn what_was_flushed_survives_without_closing() {
    let scratch = Scratch::new("drop");
    let store = options().open_or_create(scratch.join("data")).unwrap();
    let volume = store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap();
    volume.write_at(5, b"precious").unwrap();
    volume.flush().unwrap();
    drop((volume, store));
    let store = options().open_or_create(scratch.join("data")).unwrap();
    let mut buf = [0; 8];
    store.volume("disk").unwrap().read_at(5, &mut buf).unwrap();
    assert_eq!(&buf, b"precious");
}

#[test]
fn opening_says_what_is_wrong() {
    let scratch = Scratch::new("opening");
    let data = scratch.join("data");
    let kind = |opened: siltstone::Result<Store>| opened.unwrap_err().kind();
    assert_eq!(kind(Store::open(&data)), ErrorKind::NotFound);
    fs::create_dir(&data).unwrap();
    assert_eq!(kind(options().open(&data)), ErrorKind::NotFound);
    assert_eq!(kind(options().read_only(true).open_or_create(&data)), ErrorKind::NotFound);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "looking leaves nothing behind");
    assert_eq!(kind(Options::new().memory_bytes(1 << 20).create(scratch.join("small"))), ErrorKind::Invalid);

    let store = options().create(&data).unwrap();
    let busy = Store::open(&data).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy);
    assert!(busy.to_string().contains("connect"), "{busy}");
    store.close().unwrap();
    drop(store);
    assert_eq!(kind(options().create(&data)), ErrorKind::Exists);
    options().open(&data).unwrap().close().unwrap();

    fs::write(scratch.join("file"), "").unwrap();
    assert_eq!(kind(options().open(scratch.join("file"))), ErrorKind::Io);
}

#[test]
fn a_closed_store_is_unavailable() {
    let scratch = Scratch::new("closed");
    let store = options().create(scratch.join("data")).unwrap();
    let volume = store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap();
    store.close().unwrap();
    let refused = volume.write_at(0, b"late").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(store.create_volume("other", &VolumeOptions::new(1)).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn readers_share_a_store_and_change_nothing() {
    let scratch = Scratch::new("readers");
    let data = scratch.join("data");
    let store = options().create(&data).unwrap();
    let volume = store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap();
    volume.write_at(0, b"shared").unwrap();
    volume.snapshot("a").unwrap();
    drop(volume);
    store.close().unwrap();
    drop(store);

    let readers = [(); 2].map(|()| options().read_only(true).open(&data).unwrap());
    for reader in &readers {
        assert!(reader.is_read_only());
        let mut buf = [0; 6];
        reader.snapshot("disk@a").unwrap().read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"shared");
        let volume = reader.volume("disk").unwrap();
        assert_eq!(volume.write_at(0, b"x").unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(volume.snapshot("b").unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(reader.create_volume("more", &VolumeOptions::new(1)).unwrap_err().kind(), ErrorKind::ReadOnly);
        volume.flush().unwrap();
        volume.verify(&mut unwatched).unwrap();
        let frozen = reader.snapshot("disk@a").unwrap();
        assert_eq!(volume.root(&mut unwatched).unwrap(), frozen.root(&mut unwatched).unwrap());
    }
    assert_eq!(options().open(&data).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn volumes_of_two_stores_are_not_compared() {
    let scratch = Scratch::new("two");
    let stores = ["a", "b"].map(|name| options().create(scratch.join(name)).unwrap());
    let [a, b] = stores.each_ref().map(|store| store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap());
    assert_eq!(a.changes_since(&b).err().unwrap().kind(), ErrorKind::Invalid);
}

#[test]
fn receiving_is_cancelled_up_to_its_last_step() {
    let scratch = Scratch::new("cancelled");
    let store = options().create(scratch.join("data")).unwrap();
    let disk = store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap();
    disk.write_at(0, &[7; 100_000]).unwrap();
    let mut stream = Vec::new();
    disk.snapshot("a").unwrap().send(None, &mut stream, &mut unwatched).unwrap();
    let receive = |breaks_at: u64| {
        let mut calls = 0;
        let received = store.receive("copy", &ReceiveOptions::new(), &stream[..], &mut |_| {
            calls += 1;
            if calls == breaks_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (received, calls)
    };
    let (received, calls) = receive(u64::MAX);
    received.unwrap();
    store.remove_volume_with_snapshots("copy").unwrap();
    for breaks_at in 1..=calls {
        assert_eq!(receive(breaks_at).0.unwrap_err().kind(), ErrorKind::Cancelled, "{breaks_at} of {calls}");
        assert_eq!(store.volumes().unwrap().len(), 1);
    }
    assert!(calls >= 3, "before, between and after");
}

#[test]
fn a_full_store_says_so_and_goes_on() {
    let scratch = Scratch::new("full");
    let store = options().capacity_bytes(Some(512 << 20)).create(scratch.join("data")).unwrap();
    let volume = store.create_volume("disk", &VolumeOptions::new(4 << 30)).unwrap();
    let mut state = 1_u64;
    let mut noise = vec![0; 1 << 20];
    let mut offset = 0;
    let error = loop {
        behaviour::fill_with_noise(&mut noise, &mut state);
        match volume.write_at(offset, &noise) {
            Ok(()) => offset += noise.len() as u64,
            Err(error) => break error,
        }
        assert!(offset < 1 << 30, "more went in than there is room");
    };
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    volume.flush().unwrap();
    volume.trim(0, 1 << 30).unwrap();
    assert!(store.space().unwrap().total_bytes <= 512 << 20);
}

/// After an opening the index learns in the background what is stored, in the order it was written. Waits until it knows the last.
fn wait_for_index(source: &Store, target: &Store, last: &[u8]) {
    let options = VolumeOptions::new(4096);
    source.create_volume("probe", &options).unwrap().write_at(0, last).unwrap();
    let snapshot = source.create_snapshot("probe@a").unwrap();
    let mut probe = target.create_volume("probe", &options).unwrap();
    let clock = SystemClock::new();
    while probe.copy_from(&snapshot, None, &mut unwatched).unwrap().known_bytes == 0 {
        assert!(clock.monotonic() < Duration::from_secs(60), "the index never learns it");
        clock.sleep(Duration::from_millis(10));
        probe.trim(0, 4096).unwrap();
    }
}

#[test]
fn copies_take_what_their_store_has() {
    let scratch = Scratch::new("copies");
    let content: Vec<_> = (0..300_u32).flat_map(|block| [block; 1024]).flat_map(u32::to_le_bytes).collect();
    let end = content.len() as u64 - 100;
    let make = |name: &str, offset: u64, size_bytes: u64| {
        let store = options().create(scratch.join(name)).unwrap();
        let volume = store.create_volume("disk", &VolumeOptions::new(size_bytes)).unwrap();
        volume.write_at(offset, &content[..(size_bytes - offset).min(end) as usize]).unwrap();
        drop(volume);
        // In order, so that all is in segments, where it is found.
        store.close().unwrap();
    };
    make("source", 0, end);
    make("target", 1 << 20, 8 << 20);
    let (source, target) = (options().open(scratch.join("source")), options().open(scratch.join("target")));
    let (source, target) = (source.unwrap(), target.unwrap());
    wait_for_index(&source, &target, &content[299 * 4096..end as usize]);
    source.volume("disk").unwrap().write_at(50 * 4096, b"something new").unwrap();
    let snapshot = source.create_snapshot("disk@a").unwrap();
    let mut copy = target.create_volume("copy", &VolumeOptions::new(1)).unwrap();
    let copied = copy.copy_from(&snapshot, None, &mut unwatched).unwrap();
    // Block 0 is zeros, and the last one is cut by the end.
    assert_eq!((copied.known_bytes, copied.read_bytes), (297 * 4096 + 3996, 4096));
    assert_eq!(copy.root(&mut unwatched).unwrap(), snapshot.root(&mut unwatched).unwrap());
}
