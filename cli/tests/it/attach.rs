//! Devices of the real daemon, which is killed under I/O. Skipped without root or `/dev/fuse`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks of the volume that the writer goes round and round in.
const SLOTS: u64 = 128;

/// What this machine lacks.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    ["/dev/fuse", "/dev/loop-control"].into_iter().find(|path| !Path::new(path).exists())
}

macro_rules! skip_where_devices_cannot_be_made {
    () => {
        if let Some(what) = missing() {
            eprintln!("skipped: there is no {what}");
            return;
        }
    };
}

/// A volume or snapshot, attached; detached when dropped, after a failed test too, because the device would outlive the tests.
struct Device<'s> {
    silt: &'s Silt,
    attached: Value,
}

impl<'s> Device<'s> {
    #[track_caller]
    fn attach(silt: &'s Silt, name: &str) -> Self {
        Self { silt, attached: silt.json(&["attach", name, "--method", "fuse", "--timeout", "60"]) }
    }

    fn open(&self) -> File {
        File::options().read(true).write(true).open(self.attached["device"].as_str().unwrap()).unwrap()
    }

    fn kill_helper(&self) {
        let pid = i32::try_from(self.attached["pid"].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        let name = self.attached["name"].as_str().unwrap_or_default();
        if self.silt.run(&["attached"]).text().contains(&format!("{name} ")) {
            let _ = self.silt.run(&["detach", name]);
        }
    }
}

/// A chunk that differs from every other, as content and at every 8 bytes.
fn chunk(number: u64) -> Vec<u8> {
    let words = (0..CHUNK_BYTES as u64 / 8).map(|at| (number << 32 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

fn write_chunk(device: &File, number: u64) {
    device.write_all_at(&chunk(number), number % SLOTS * CHUNK_BYTES as u64).unwrap();
    device.sync_data().unwrap();
}

#[test]
fn io_on_a_device_outlives_a_killed_daemon() {
    skip_where_devices_cannot_be_made!();
    let scratch = Scratch::new("attach-killed");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=64M"]);
    let device = Device::attach(&silt, "demo");
    assert_eq!(silt.json(&["attached"])["attached"], json!([device.attached]));

    let is_back = Arc::new(AtomicBool::new(false));
    let (reached, at_work) = mpsc::channel();
    let writer = thread::spawn({
        let (file, is_back) = (device.open(), Arc::clone(&is_back));
        move || {
            let (mut number, mut left) = (0, 32);
            while left > 0 {
                write_chunk(&file, number);
                if number == 20 {
                    reached.send(()).unwrap();
                }
                number += 1;
                left -= i32::from(is_back.load(Ordering::Acquire));
            }
            number
        }
    });
    at_work.recv().unwrap();
    daemon.kill();
    let daemon = Daemon::start(&silt, &[]);
    is_back.store(true, Ordering::Release);
    let written = writer.join().unwrap();

    assert_eq!(silt.json(&["attached"])["attached"][0]["broken"], false);
    silt.run(&["detach", device.attached["device"].as_str().unwrap()]).expect(0);
    assert_eq!(silt.json(&["attached"]), json!({ "attached": [] }));
    let content = silt.run(&["export", "demo", "-"]).expect(0).stdout;
    for number in written.saturating_sub(SLOTS)..written {
        let at = (number % SLOTS) as usize * CHUNK_BYTES;
        assert!(content[at..at + CHUNK_BYTES] == chunk(number), "chunk {number} of {written}");
    }
    daemon.stop().expect(0);
}

#[test]
fn a_volume_is_attached_again_after_daemon_and_helper_died() {
    skip_where_devices_cannot_be_made!();
    let scratch = Scratch::new("attach-again");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=64M"]);
    let device = Device::attach(&silt, "demo");
    (0..16).for_each(|number| write_chunk(&device.open(), number));
    daemon.kill();
    device.kill_helper();
    // The device goes a moment after the process that served it.
    while silt.json(&["attached"])["attached"][0]["broken"] == false {
        thread::yield_now();
    }
    silt.run(&["detach", "demo"]);
    assert_eq!(silt.json(&["attached"]), json!({ "attached": [] }));

    let daemon = Daemon::start(&silt, &[]);
    let device = Device::attach(&silt, "demo");
    let file = device.open();
    for number in 0..16 {
        let mut found = vec![0; CHUNK_BYTES];
        file.read_exact_at(&mut found, number * CHUNK_BYTES as u64).unwrap();
        assert!(found == chunk(number), "chunk {number}");
    }
    drop(file);
    silt.run(&["detach", "demo"]).expect(0);
    daemon.stop().expect(0);
}

#[test]
fn what_cannot_be_attached_or_detached_is_told() {
    skip_where_devices_cannot_be_made!();
    let scratch = Scratch::new("attach-refused");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=64M"]);
    silt.run(&["attach", "nobody"]).expect(10);
    silt.run(&["detach", "demo"]).expect(10);
    let device = Device::attach(&silt, "demo");
    let again = silt.run(&["attach", "demo"]).expect(1);
    assert!(again.stderr.contains("attached already"), "{}", again.stderr);
    drop(device);
    daemon.stop().expect(0);
    let stopped = silt.run(&["attach", "demo"]).expect(1);
    assert!(stopped.stderr.contains("no daemon answers"), "{}", stopped.stderr);
}

#[test]
fn a_snapshot_is_attached_read_only_beside_its_volume() {
    skip_where_devices_cannot_be_made!();
    let scratch = Scratch::new("attach-snapshot");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=64M"]);
    let device = Device::attach(&silt, "demo");
    write_chunk(&device.open(), 5);
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    // Over the same place.
    write_chunk(&device.open(), 5 + SLOTS);

    let frozen = Device::attach(&silt, "demo@s");
    assert_eq!((&frozen.attached["name"], &frozen.attached["read_only"]), (&json!("demo@s"), &json!(true)));
    let path = frozen.attached["device"].as_str().unwrap();
    let mut found = vec![0; CHUNK_BYTES];
    File::open(path).unwrap().read_exact_at(&mut found, 5 * CHUNK_BYTES as u64).unwrap();
    assert!(found == chunk(5));
    let written = File::options().write(true).open(path).and_then(|file| file.write_all_at(&[1; 4096], 0));
    assert!(written.is_err(), "a snapshot was written");

    silt.run(&["snap", "rollback", "demo@s"]).expect(11);
    silt.run(&["snap", "rm", "demo@s"]).expect(11);
    drop(device);
    // The daemon notices a little later.
    while silt.json(&["info", "demo"])["connections"] != 0 {
        thread::yield_now();
    }
    silt.run(&["snap", "rollback", "demo@s"]).expect(0);
    File::open(path).unwrap().read_exact_at(&mut found, 5 * CHUNK_BYTES as u64).unwrap();
    assert!(found == chunk(5));
    silt.run(&["detach", "demo@s"]).expect(0);
    let device = Device::attach(&silt, "demo");
    device.open().read_exact_at(&mut found, 5 * CHUNK_BYTES as u64).unwrap();
    assert!(found == chunk(5));
    drop(device);
    daemon.stop().expect(0);
}
