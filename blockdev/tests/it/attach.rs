//! Real devices over real NBD servers: file systems on them, servers and helpers that are killed.
//!
//! They drive the example `attach`, whose every option they need, and skip only where there is no root or no `/dev/fuse`.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rig::{Rig, Server, command, wait_until};
use rustix::fs::OFlags;
use rustix::io::Errno;

mod rig;

/// Skips the test that calls it where devices cannot be made.
macro_rules! rig {
    () => {
        rig!(rig::missing())
    };
    ($missing:expr) => {
        match $missing {
            None => Rig::new(),
            Some(what) => {
                eprintln!("skipped: there is no {what}");
                return;
            }
        }
    };
}

const MIB: u64 = 1 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// A chunk that differs from every other, as content and at every 8 bytes.
fn chunk(number: u64) -> Vec<u8> {
    let words = (0..CHUNK_BYTES as u64 / 8).map(|at| (number << 32 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// The device's content, past every cache.
fn open_direct(device: &Path) -> File {
    let flags = OFlags::DIRECT.bits().cast_signed();
    File::options().read(true).write(true).custom_flags(flags).open(device).unwrap()
}

/// Page-aligned memory for direct I/O, without unsafe code: the aligned middle of a larger vector.
struct Aligned(Vec<u8>, usize);

impl Aligned {
    fn new(data: &[u8]) -> Self {
        let mut memory = vec![0; data.len() + 4096];
        let start = memory.as_ptr().align_offset(4096);
        memory[start..start + data.len()].copy_from_slice(data);
        Self(memory, start)
    }

    fn bytes(&mut self) -> &mut [u8] {
        let len = self.0.len() - 4096;
        &mut self.0[self.1..self.1 + len]
    }
}

fn write_chunk(device: &File, number: u64) -> std::io::Result<()> {
    device.write_all_at(Aligned::new(&chunk(number)).bytes(), number * CHUNK_BYTES as u64)
}

fn assert_chunk(device: &File, number: u64) {
    let mut found = Aligned::new(&[0; CHUNK_BYTES]);
    device.read_exact_at(found.bytes(), number * CHUNK_BYTES as u64).unwrap();
    assert!(found.bytes() == chunk(number), "chunk {number} differs");
}

/// mkfs, fill, delete half, fstrim, unmount, check; then everything again from a new device.
fn a_file_system_lives_on_a_device(rig: &Rig, mkfs: &[&str], check: &[&str]) {
    let server = Server::qemu(rig, 512 * MIB);
    let device = rig.attach(&[]);
    command(mkfs).arg(&device).succeeds();
    let mount = rig.mount(&device);
    let content: Vec<u8> = (0..64).flat_map(chunk).collect();
    for number in 0..16 {
        fs::write(mount.path().join(format!("file{number}")), &content).unwrap();
    }
    command(&["sync"]).succeeds();
    let filled = rig.allocated_bytes();
    assert!(filled >= 64 * MIB, "{filled}");
    for number in (0..16).step_by(2) {
        fs::remove_file(mount.path().join(format!("file{number}"))).unwrap();
    }
    command(&["sync"]).succeeds();
    // XFS frees the blocks of removed files in the background, and fstrim does not wait for it.
    let trimmed = || {
        command(&["fstrim"]).arg(mount.path()).succeeds();
        rig.allocated_bytes() <= filled - 24 * MIB
    };
    wait_until("fstrim to free what the removed files held", trimmed);
    assert_eq!(rig.run(&["detach", "demo"]).code(), 11, "it is mounted");
    drop(mount);
    command(check).arg(&device).succeeds();
    rig.run(&["detach", "demo"]).succeeds();
    drop(server);

    let _server = Server::qemu(rig, 512 * MIB);
    let device = rig.attach(&["ro"]);
    command(check).arg(&device).succeeds();
    let mount = rig.mount_with(&device, "ro,norecovery");
    for number in (1..16).step_by(2) {
        assert!(fs::read(mount.path().join(format!("file{number}"))).unwrap() == content, "file{number}");
    }
    drop(mount);
    rig.run(&["detach", device.to_str().unwrap()]).succeeds();
    rig.assert_nothing_attached();
}

#[test]
fn ext4_lives_on_a_device() {
    let rig = rig!();
    // Discarded at mkfs, the image would be sparse before anything was tested.
    a_file_system_lives_on_a_device(&rig, &["mkfs.ext4", "-q", "-E", "nodiscard"], &["fsck.ext4", "-f", "-n"]);
}

#[test]
fn xfs_lives_on_a_device() {
    let rig = rig!();
    a_file_system_lives_on_a_device(&rig, &["mkfs.xfs", "-q", "-K"], &["xfs_repair", "-n"]);
}

#[test]
fn io_waits_for_a_killed_server_and_goes_on() {
    let rig = rig!();
    let mut server = Server::qemu(&rig, 64 * MIB);
    let device = rig.attach(&[]);
    let (reached, at_half) = mpsc::channel();
    let writer = {
        let device = device.clone();
        thread::spawn(move || {
            let device = open_direct(&device);
            for number in 0..512 {
                write_chunk(&device, number).unwrap();
                if number == 256 {
                    reached.send(()).unwrap();
                }
            }
            device.sync_all().unwrap();
        })
    };
    at_half.recv().unwrap();
    server.kill();
    // The next writes run into the dead server, or the one under way does.
    wait_until("the helper to notice", || rig.helper_log().contains("broke"));
    assert!(!writer.is_finished());
    let _server = Server::qemu(&rig, 64 * MIB);
    writer.join().unwrap();
    let content = open_direct(&device);
    for number in 0..512 {
        assert_chunk(&content, number);
    }
    drop(content);
    assert!(!rig.only_attached().broken);
    rig.run(&["detach", "demo"]).succeeds();
}

#[test]
fn a_file_system_survives_kills_of_the_server() {
    let rig = rig!();
    let mut server = Server::qemu(&rig, 256 * MIB);
    let device = rig.attach(&[]);
    command(&["mkfs.ext4", "-q"]).arg(&device).succeeds();
    let mount = rig.mount(&device);
    let content: Vec<u8> = (0..32).flat_map(chunk).collect();
    for round in 0..3 {
        let file = mount.path().join(format!("round{round}"));
        let (writer_file, writer_content) = (file.clone(), content.clone());
        let (started, is_writing) = mpsc::channel();
        let writer = thread::spawn(move || {
            for pass in 0..8 {
                fs::write(&writer_file, &writer_content).unwrap();
                File::open(&writer_file).unwrap().sync_all().unwrap();
                if pass == 1 {
                    started.send(()).unwrap();
                }
            }
        });
        is_writing.recv().unwrap();
        server.kill();
        server = Server::qemu(&rig, 256 * MIB);
        writer.join().unwrap();
        assert!(fs::read(&file).unwrap() == content);
    }
    drop(mount);
    command(&["fsck.ext4", "-f", "-n"]).arg(&device).succeeds();
    rig.run(&["detach", "demo"]).succeeds();
    drop(server);
}

#[test]
fn a_killed_helper_shows_and_is_cleared() {
    let rig = rig!();
    let _server = Server::qemu(&rig, 64 * MIB);
    let device = rig.attach(&[]);
    write_chunk(&open_direct(&device), 3).unwrap();
    let attached = rig.only_attached();
    assert!(!attached.broken);
    rig::kill(attached.pid);
    wait_until("the helper's death to show", || rig.only_attached().broken);
    assert!(write_chunk(&open_direct(&device), 4).is_err());
    let again = rig.run(&["attach", "demo"]);
    assert_eq!(again.code(), 1, "what is broken has to be cleared first");
    rig.run(&["detach", "demo"]).succeeds();
    rig.assert_nothing_attached();

    let device = rig.attach(&[]);
    assert_chunk(&open_direct(&device), 3);
    rig.run(&["detach", "demo"]).succeeds();
}

#[test]
fn a_server_that_stays_away_fails_io_and_can_be_detached() {
    let rig = rig!();
    let mut server = Server::qemu(&rig, 64 * MIB);
    let device = open_direct(&rig.attach(&["1"]));
    write_chunk(&device, 0).unwrap();
    server.kill();
    let error = write_chunk(&device, 1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    drop(device);
    assert!(rig.only_attached().broken);
    rig.run(&["detach", "demo"]).succeeds();
    rig.assert_nothing_attached();
}

#[test]
fn a_read_only_device_refuses_writes() {
    let rig = rig!();
    let _server = Server::qemu(&rig, 64 * MIB);
    let device = rig.attach(&["ro"]);
    assert!(rig.only_attached().read_only);
    command(&["blockdev", "--getro"]).arg(&device).prints("1");
    assert!(File::options().write(true).open(&device).and_then(|file| file.write_all_at(&[1; 512], 0)).is_err());
    rig.run(&["detach", "demo"]).succeeds();
}

#[test]
fn a_full_volume_is_told_as_such() {
    let rig = rig!();
    let arguments = ["--filter=error", "memory", "64M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"];
    let _server = Server::nbdkit(&rig, &arguments);
    let device = open_direct(&rig.attach(&[]));
    let error = write_chunk(&device, 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    drop(device);
    assert!(!rig.only_attached().broken);
    rig.run(&["detach", "demo"]).succeeds();
}

#[test]
fn discarded_and_zeroed_ranges_read_as_zeros() {
    let rig = rig!();
    let _server = Server::nbdkit(&rig, &["memory", "64M"]);
    let path = rig.attach(&[]);
    let device = open_direct(&path);
    (0..8).for_each(|number| write_chunk(&device, number).unwrap());
    let length = CHUNK_BYTES.to_string();
    command(&["blkdiscard", "--offset", &length, "--length", &length]).arg(&path).succeeds();
    let offset = (3 * CHUNK_BYTES).to_string();
    command(&["blkdiscard", "--zeroout", "--offset", &offset, "--length", &length]).arg(&path).succeeds();
    for number in 0..8 {
        if [1, 3].contains(&number) {
            let mut found = Aligned::new(&[1; CHUNK_BYTES]);
            device.read_exact_at(found.bytes(), number * CHUNK_BYTES as u64).unwrap();
            assert!(found.bytes().iter().all(|byte| *byte == 0), "chunk {number}");
        } else {
            assert_chunk(&device, number);
        }
    }
    drop(device);
    rig.run(&["detach", "demo"]).succeeds();
}

#[test]
fn what_cannot_be_attached_leaves_nothing_behind() {
    let rig = rig!();
    let no_daemon = rig.run(&["attach", "demo", "fuse"]);
    assert_eq!(no_daemon.code(), 1);
    assert!(no_daemon.stderr().contains("no daemon answers"), "{}", no_daemon.stderr());
    rig.assert_nothing_attached();
    let _server = Server::qemu(&rig, 64 * MIB);
    assert_eq!(rig.run(&["attach", "other", "fuse"]).code(), 10, "there is no such export");
    rig.assert_nothing_attached();
    assert_eq!(rig.run(&["detach", "demo"]).code(), 10);
    assert_eq!(rig.run(&["detach", "/dev/loop0"]).code(), 10);
    assert_eq!(rig.run(&["attach", "../demo"]).code(), 1);
    if !Path::new("/sys/module/nbd").exists() {
        let kernel = rig.run(&["attach", "demo", "kernel"]);
        assert!(kernel.stderr().contains("no NBD driver"), "{}", kernel.stderr());
        rig.assert_nothing_attached();
    }
}

#[test]
fn a_helper_is_nobodys_child_and_its_directory_private() {
    let rig = rig!();
    let _server = Server::qemu(&rig, 64 * MIB);
    rig.attach(&[]);
    let status = fs::read_to_string(format!("/proc/{}/status", rig.only_attached().pid)).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    assert_ne!(parent, std::process::id().to_string());
    let mode = fs::metadata(rig.data().join("attach/demo")).unwrap().mode();
    assert_eq!(mode & 0o077, 0);
    rig.run(&["detach", "demo"]).succeeds();
}

/// The kernel's driver end to end; `tests/kernel-nbd` runs it where the kernel at hand has none.
#[test]
fn a_kernel_device_survives_its_server_and_its_helper() {
    let rig = rig!(rig::missing_for_kernel());
    let mut server = Server::qemu(&rig, 256 * MIB);
    let device = rig.attach_by("kernel", &[]);
    assert!(device.to_str().unwrap().starts_with("/dev/nbd"), "{device:?}");
    command(&["blockdev", "--getss"]).arg(&device).prints("512");
    command(&["mkfs.ext4", "-q", "-E", "nodiscard"]).arg(&device).succeeds();
    let mount = rig.mount(&device);
    assert_eq!(rig.run(&["detach", "demo"]).code(), 11, "it is mounted");

    server.kill();
    let content: Vec<u8> = (0..128).flat_map(chunk).collect();
    let file = mount.path().join("file");
    let writer = {
        let (file, content) = (file.clone(), content.clone());
        thread::spawn(move || {
            fs::write(&file, &content).unwrap();
            File::open(&file).unwrap().sync_all().unwrap();
        })
    };
    let mut server = Server::qemu(&rig, 256 * MIB);
    writer.join().unwrap();
    assert!(rig.helper_log().contains("connected to the daemon again"));
    let filled = rig.allocated_bytes();
    drop(mount);
    command(&["fsck.ext4", "-f", "-n"]).arg(&device).succeeds();
    let mount = rig.mount(&device);
    assert!(fs::read(&file).unwrap() == content);
    fs::remove_file(&file).unwrap();
    command(&["sync"]).succeeds();
    command(&["fstrim"]).arg(mount.path()).succeeds();
    assert!(rig.allocated_bytes() <= filled - 4 * MIB);
    drop(mount);

    rig::kill(rig.only_attached().pid);
    wait_until("the helper's death to show", || rig.only_attached().broken);
    rig.run(&["detach", device.to_str().unwrap()]).succeeds();
    rig.assert_nothing_attached();

    let device = rig.attach_by("auto", &["ro", "1"]);
    assert!(device.to_str().unwrap().starts_with("/dev/nbd"));
    command(&["blockdev", "--getro"]).arg(&device).prints("1");
    server.kill();
    wait_until("the helper to give up", || rig.only_attached().broken);
    rig.run(&["detach", "demo"]).succeeds();
    rig.assert_nothing_attached();
}
