//! What every device must do, run against each of them alike.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory::{DirectoryDevice, ReadEngine};
use super::sim::{Faults, SimDevice, SimOptions};
use super::*;
use crate::rng::{Rng, SeededRng};

/// An empty directory that goes with the test.
pub(super) struct TestDirectory(PathBuf);

impl TestDirectory {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("silt-device-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A device under test, as several processes would see it.
struct Subject {
    name: &'static str,
    device: Box<dyn Device>,
    second: Box<dyn Device>,
    reader: Box<dyn Device>,
    _directory: Option<TestDirectory>,
}

impl Subject {
    fn directory(name: &'static str, engine: ReadEngine) -> Self {
        let directory = TestDirectory::new();
        let open = |mode| Box::new(DirectoryDevice::open_with(directory.path(), mode, engine).unwrap());
        Self {
            name,
            device: open(AccessMode::ReadWrite),
            second: open(AccessMode::ReadWrite),
            reader: open(AccessMode::ReadOnly),
            _directory: Some(directory),
        }
    }

    fn simulated(name: &'static str, read_alignment: usize) -> Self {
        let device = SimDevice::with_options(SimOptions { read_alignment, ..SimOptions::new(1) });
        Self {
            name,
            second: Box::new(device.clone()),
            reader: Box::new(device.read_only()),
            device: Box::new(device),
            _directory: None,
        }
    }
}

#[expect(clippy::print_stdout, reason = "a failed test must tell which device failed it")]
fn each_device(test: impl Fn(&Subject)) {
    let mut subjects = vec![
        Subject::directory("pool", ReadEngine::Pool),
        Subject::simulated("simulated, 512", 512),
        Subject::simulated("simulated, 4096", 4096),
    ];
    // Where io_uring is forbidden there is nothing to test.
    if uring::probe().is_ok() {
        subjects.push(Subject::directory("io_uring", ReadEngine::Uring));
    }
    for subject in &subjects {
        println!("device: {}", subject.name);
        test(subject);
    }
}

fn random_buffer(len: usize, seed: u64) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(len);
    SeededRng::new(seed).fill(&mut buffer);
    buffer
}

fn read(file: &Arc<dyn File>, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = AlignedBuffer::zeroed(len);
    file.read_at(&mut buffer, offset).map(|()| buffer.to_vec())
}

fn write(file: &Arc<dyn File>, data: &[u8], offset: u64) {
    file.write_at(&[IoSlice::new(data)], offset).unwrap();
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn files_have_names_in_directories() {
    each_device(|Subject { device, .. }| {
        device.create_directory("d").unwrap();
        device.create_directory("d").unwrap();
        for path in ["b", "a", "d/y", "d/x"] {
            write(&device.create(path, Access::Buffered).unwrap(), path.as_bytes(), 0);
            device.sync_directory("").unwrap();
            device.sync_directory("d").unwrap();
        }
        assert_eq!(device.list("").unwrap(), ["a", "b"]);
        assert_eq!(device.list("d").unwrap(), ["x", "y"]);
        assert_eq!(kind(device.create("d/x", Access::Buffered)), ErrorKind::AlreadyExists);

        device.rename("d/y", "a").unwrap();
        assert_eq!(device.list("").unwrap(), ["a", "b"]);
        assert_eq!(device.list("d").unwrap(), ["x"]);
        assert_eq!(read(&device.open("a", Access::Buffered).unwrap(), 0, 3).unwrap(), b"d/y");
        device.rename("b", "b").unwrap();
        device.remove("b").unwrap();
        assert_eq!(device.list("").unwrap(), ["a"]);
    });
}

#[test]
fn what_is_missing_is_not_found() {
    each_device(|Subject { device, .. }| {
        assert_eq!(kind(device.open("x", Access::Direct)), ErrorKind::NotFound);
        assert_eq!(kind(device.open("d/x", Access::Buffered)), ErrorKind::NotFound);
        assert_eq!(kind(device.create("d/x", Access::Buffered)), ErrorKind::NotFound);
        assert_eq!(kind(device.remove("x")), ErrorKind::NotFound);
        assert_eq!(kind(device.rename("x", "y")), ErrorKind::NotFound);
        assert_eq!(kind(device.list("d")), ErrorKind::NotFound);
        assert_eq!(kind(device.sync_directory("d")), ErrorKind::NotFound);
        device.create("x", Access::Buffered).unwrap();
        assert_eq!(kind(device.rename("x", "d/x")), ErrorKind::NotFound);
    });
}

#[test]
fn nothing_outside_the_device_can_be_named() {
    each_device(|Subject { device, .. }| {
        for path in ["", "/", "/x", "x/", "../x", "d/../x", ".", "..", "d/e/f", "a\0b", "lock"] {
            assert_eq!(kind(device.create(path, Access::Buffered)), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(kind(device.open(path, Access::Buffered)), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(kind(device.remove(path)), ErrorKind::InvalidInput, "{path:?}");
        }
        assert_eq!(kind(device.create_directory("../d")), ErrorKind::InvalidInput);
        assert_eq!(kind(device.create_directory("")), ErrorKind::InvalidInput);
    });
}

#[test]
fn buffered_bytes_come_back() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Buffered).unwrap();
        assert!(file.is_empty().unwrap());
        let data = random_buffer(10_000, 1);
        let slices = [&data[..1], &[], &data[1..5000], &data[5000..]].map(IoSlice::new);
        file.write_at(&slices, 777).unwrap();
        assert_eq!(file.len().unwrap(), 10_777);
        assert_eq!(read(&file, 777, 10_000).unwrap(), *data);
        assert_eq!(read(&file, 0, 777).unwrap(), [0; 777], "a hole");
        assert_eq!(kind(read(&file, 778, 10_000)), ErrorKind::UnexpectedEof);
        assert_eq!(kind(read(&file, 1 << 40, 1)), ErrorKind::UnexpectedEof);
        assert!(read(&file, 0, 0).unwrap().is_empty());
        file.sync_data().unwrap();
    });
}

#[test]
fn more_slices_than_the_kernel_takes_at_once_are_written() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Buffered).unwrap();
        let data = random_buffer(3000 * 3, 1);
        let slices: Vec<_> = data.chunks(3).map(IoSlice::new).collect();
        file.write_at(&slices, 5).unwrap();
        assert_eq!(read(&file, 5, data.len()).unwrap(), *data);
    });
}

#[test]
fn a_cut_file_has_zeros_when_it_grows_again() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Buffered).unwrap();
        write(&file, &[7; 9000], 0);
        file.set_len(5001).unwrap();
        assert_eq!(kind(read(&file, 0, 5002)), ErrorKind::UnexpectedEof);
        file.set_len(9000).unwrap();
        let bytes = read(&file, 0, 9000).unwrap();
        assert!(bytes[..5001].iter().all(|&byte| byte == 7) && bytes[5001..].iter().all(|&byte| byte == 0));
        file.set_len(0).unwrap();
        assert!(file.is_empty().unwrap());
    });
}

#[test]
fn allocated_space_is_zero_and_spares_what_is_there() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Buffered).unwrap();
        write(&file, &[7; 100], 0);
        file.allocate(50, 9950).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        let bytes = read(&file, 0, 10_000).unwrap();
        assert!(bytes[..100].iter().all(|&byte| byte == 7) && bytes[100..].iter().all(|&byte| byte == 0));
        file.allocate(0, 10).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        assert_eq!(kind(file.allocate(0, 0)), ErrorKind::InvalidInput);
    });
}

#[test]
fn direct_and_buffered_handles_see_the_same_file() {
    each_device(|Subject { device, .. }| {
        let direct = device.create("x", Access::Direct).unwrap();
        let buffered = device.open("x", Access::Buffered).unwrap();
        let data = random_buffer(16_384, 1);
        direct.write_at(&[IoSlice::new(&data[..4096]), IoSlice::new(&data[4096..])], 8192).unwrap();
        assert_eq!(read(&buffered, 8192, 16_384).unwrap(), *data);
        write(&buffered, b"over", 8192);
        assert_eq!(read(&direct, 8192, 4096).unwrap()[..4], *b"over");
        assert_eq!(read(&direct, 0, 8192).unwrap(), [0; 8192]);
    });
}

#[test]
fn direct_files_refuse_what_is_not_aligned() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Direct).unwrap();
        let data = random_buffer(16_384, 1);
        let write = |slice: &[u8], offset| file.write_at(&[IoSlice::new(slice)], offset);
        assert_eq!(kind(write(&data[..4000], 0)), ErrorKind::InvalidInput);
        assert_eq!(kind(write(&data[..4096], 512)), ErrorKind::InvalidInput);
        assert_eq!(kind(write(&data[512..4608], 0)), ErrorKind::InvalidInput);
        write(&data, 0).unwrap();

        let alignment = file.alignment();
        assert!(alignment.is_power_of_two() && alignment <= DIRECT_ALIGNMENT);
        let mut buffer = AlignedBuffer::zeroed(8192);
        file.read_at(&mut buffer[..alignment], alignment as u64).unwrap();
        assert_eq!(buffer[..alignment], data[alignment..2 * alignment]);
        if alignment > 1 {
            assert_eq!(kind(file.read_at(&mut buffer[..alignment], 1)), ErrorKind::InvalidInput);
            assert_eq!(kind(file.read_at(&mut buffer[..alignment - 1], 0)), ErrorKind::InvalidInput);
            assert_eq!(kind(file.read_at(&mut buffer[1..=alignment], 0)), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_direct_read_across_a_ragged_end_is_unexpected_eof() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Direct).unwrap();
        write(&file, &random_buffer(8192, 1), 0);
        file.set_len(5000).unwrap();
        assert_eq!(kind(read(&file, 0, 8192)), ErrorKind::UnexpectedEof);
        let mut queue = device.read_queue(1).unwrap();
        queue.submit(0, &file, AlignedBuffer::zeroed(8192), 0);
        assert!(queue.wait(None, None).unwrap().completions);
        assert_eq!(kind(queue.next_completion().unwrap().result), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_removed_file_lives_until_its_last_handle_is_closed() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Buffered).unwrap();
        write(&file, b"old", 0);
        device.remove("x").unwrap();
        device.sync_directory("").unwrap();
        let next = device.create("x", Access::Buffered).unwrap();
        write(&next, b"new", 0);
        write(&file, b"d", 2);
        file.sync_data().unwrap();
        assert_eq!(read(&file, 0, 3).unwrap(), b"old");
        assert_eq!(read(&next, 0, 3).unwrap(), b"new");
    });
}

#[test]
fn a_read_only_device_changes_nothing() {
    each_device(|Subject { device, reader, .. }| {
        device.create_directory("d").unwrap();
        write(&device.create("x", Access::Buffered).unwrap(), b"data", 0);
        let file = reader.open("x", Access::Buffered).unwrap();
        assert_eq!(read(&file, 0, 4).unwrap(), b"data");
        let refused = [
            reader.create("y", Access::Buffered).map(|_| ()),
            reader.create_directory("e"),
            reader.rename("x", "y"),
            reader.remove("x"),
            reader.sync_directory(""),
            file.write_at(&[IoSlice::new(b"x")], 0),
            file.set_len(0),
            file.allocate(0, 10),
            file.sync_data(),
        ];
        for result in refused {
            assert_eq!(kind(result), ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(reader.list("").unwrap(), ["x"]);
        assert_eq!(file.len().unwrap(), 4);
    });
}

#[test]
fn locks_exclude_each_other_and_are_no_files() {
    each_device(|Subject { device, second, reader, .. }| {
        let early = reader.lock(LockMode::Shared).unwrap();
        assert!(reader.list("").unwrap().is_empty(), "a reader makes no lock file");
        drop(early);
        let owner = device.lock(LockMode::Exclusive).unwrap();
        for other in [device, second, reader] {
            assert_eq!(kind(other.lock(LockMode::Exclusive)), ErrorKind::WouldBlock);
            assert_eq!(kind(other.lock(LockMode::Shared)), ErrorKind::WouldBlock);
        }
        assert!(device.list("").unwrap().is_empty());
        drop(owner);
        let readers = [reader.lock(LockMode::Shared).unwrap(), second.lock(LockMode::Shared).unwrap()];
        assert_eq!(kind(device.lock(LockMode::Exclusive)), ErrorKind::WouldBlock);
        drop(readers);
        device.lock(LockMode::Exclusive).unwrap();
    });
}

#[test]
fn space_is_told() {
    each_device(|Subject { device, .. }| {
        let space = device.space().unwrap();
        assert!(space.total_bytes > 0 && space.available_bytes <= space.total_bytes, "{space:?}");
    });
}

/// Keeps a queue full of reads of random places until `total` have come back right.
fn read_randomly(queue: &mut dyn ReadQueue, depth: usize, file: &Arc<dyn File>, content: &[u8], total: u64) {
    let rng = SeededRng::new(9);
    let mut offsets = Vec::new();
    let mut seen = vec![false; total as usize];
    while seen.contains(&false) {
        while queue.in_flight() < depth && (offsets.len() as u64) < total {
            let len = 4096 * (1 + rng.below(8));
            let offset = 4096 * rng.below((content.len() as u64 - len) / 4096 + 1);
            queue.submit(offsets.len() as u64, file, AlignedBuffer::zeroed(len as usize), offset);
            offsets.push(offset as usize);
        }
        assert!(queue.wait(None, None).unwrap().completions);
        while let Some(Completion { token, buffer, result }) = queue.next_completion() {
            result.unwrap();
            let offset = offsets[token as usize];
            assert!(*buffer == content[offset..offset + buffer.len()]);
            assert!(!std::mem::replace(&mut seen[token as usize], true), "a read comes back once");
        }
    }
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn queued_reads_come_back_right_and_once() {
    each_device(|Subject { device, .. }| {
        let content = random_buffer(1 << 20, 1);
        write(&device.create("x", Access::Direct).unwrap(), &content, 0);
        for access in [Access::Direct, Access::Buffered] {
            let file = device.open("x", access).unwrap();
            for depth in [1, 7, 32] {
                let mut queue = device.read_queue(depth).unwrap();
                read_randomly(&mut *queue, depth, &file, &content, 200);
            }
        }
    });
}

#[test]
fn queues_of_several_threads_do_not_meet() {
    each_device(|Subject { device, .. }| {
        let content = random_buffer(1 << 20, 1);
        write(&device.create("x", Access::Direct).unwrap(), &content, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let file = device.open("x", Access::Direct).unwrap();
                    let mut queue = device.read_queue(8).unwrap();
                    read_randomly(&mut *queue, 8, &file, &content, 100);
                });
            }
        });
    });
}

#[test]
fn failed_reads_are_completions() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Direct).unwrap();
        write(&file, &random_buffer(8192, 1), 0);
        let mut queue = device.read_queue(3).unwrap();
        queue.submit(1, &file, AlignedBuffer::zeroed(8192), 4096);
        queue.submit(2, &file, AlignedBuffer::zeroed(4096), 1 << 30);
        queue.submit(3, &file, AlignedBuffer::zeroed(0), 0);
        let mut results = Vec::new();
        while queue.in_flight() > 0 {
            assert!(queue.wait(None, None).unwrap().completions);
            results.extend(std::iter::from_fn(|| queue.next_completion()).map(|c| (c.token, c.result.err())));
        }
        results.sort_by_key(|(token, _)| *token);
        let kinds: Vec<_> =
            results.iter().map(|(token, error)| (*token, error.as_ref().map(io::Error::kind))).collect();
        let eof = Some(ErrorKind::UnexpectedEof);
        assert_eq!(kinds, [(1, eof), (2, eof), (3, None)]);
    });
}

#[test]
fn a_wait_ends_for_the_socket() {
    each_device(|Subject { device, .. }| {
        let only_socket = Wake { socket_readable: true, completions: false };
        let mut queue = device.read_queue(4).unwrap();
        let (mut socket, mut peer) = UnixStream::pair().unwrap();
        for byte in 0..3_u8 {
            let sender = std::thread::spawn(move || {
                peer.write_all(&[byte]).unwrap();
                peer
            });
            assert_eq!(queue.wait(Some(socket.as_fd()), None).unwrap(), only_socket);
            // What was not read is told again.
            assert_eq!(queue.wait(Some(socket.as_fd()), None).unwrap(), only_socket);
            let mut received = [9];
            socket.read_exact(&mut received).unwrap();
            assert_eq!(received, [byte]);
            peer = sender.join().unwrap();
        }
        std::thread::spawn(move || drop(peer));
        assert_eq!(queue.wait(Some(socket.as_fd()), None).unwrap(), only_socket);
        assert_eq!(socket.read(&mut [0]).unwrap(), 0, "hung up");
    });
}

#[test]
fn a_wait_ends_for_completions_beside_a_silent_socket() {
    each_device(|Subject { device, .. }| {
        let content = random_buffer(1 << 16, 1);
        let file = device.create("x", Access::Direct).unwrap();
        write(&file, &content, 0);
        let mut queue = device.read_queue(4).unwrap();
        let (mut socket, mut peer) = UnixStream::pair().unwrap();
        for round in 0..16_u64 {
            queue.submit(round, &file, AlignedBuffer::zeroed(4096), round * 4096);
            assert_eq!(
                queue.wait(Some(socket.as_fd()), None).unwrap(),
                Wake { socket_readable: false, completions: true }
            );
            // A completion that was not fetched is told again, and no wait blocks beside it.
            assert!(queue.wait(Some(socket.as_fd()), None).unwrap().completions);
            let completion = queue.next_completion().unwrap();
            assert_eq!((completion.token, &*completion.buffer), (round, &content[round as usize * 4096..][..4096]));

            peer.write_all(b"x").unwrap();
            let wake = queue.wait(Some(socket.as_fd()), None).unwrap();
            assert_eq!(wake, Wake { socket_readable: true, completions: false });
            socket.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn a_wait_tells_of_the_socket_beside_completions() {
    each_device(|Subject { device, .. }| {
        let file = device.create("x", Access::Buffered).unwrap();
        write(&file, &[1; 4096], 0);
        let mut queue = device.read_queue(1).unwrap();
        let (socket, mut peer) = UnixStream::pair().unwrap();
        queue.submit(0, &file, AlignedBuffer::zeroed(4096), 0);
        assert!(queue.wait(None, None).unwrap().completions);
        peer.write_all(b"x").unwrap();
        let wake = queue.wait(Some(socket.as_fd()), None).unwrap();
        assert_eq!(wake, Wake { socket_readable: true, completions: true });
    });
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    each_device(|Subject { device, .. }| {
        let mut queue = device.read_queue(1).unwrap();
        let (socket, _peer) = UnixStream::pair().unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(3)] {
            assert_eq!(queue.wait(Some(socket.as_fd()), Some(timeout)).unwrap(), Wake::default());
            assert_eq!(queue.wait(None, Some(timeout)).unwrap(), Wake::default());
        }
        // Not an overflow.
        let (socket, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        assert!(queue.wait(Some(socket.as_fd()), Some(Duration::MAX)).unwrap().socket_readable);
    });
}

#[test]
fn queues_may_outlive_their_device() {
    let directory = TestDirectory::new();
    for engine in [ReadEngine::Probe, ReadEngine::Pool] {
        let device = DirectoryDevice::open_with(directory.path(), AccessMode::ReadWrite, engine).unwrap();
        let file = device.create("x", Access::Buffered).unwrap();
        write(&file, b"data", 0);
        device.remove("x").unwrap();
        let mut queue = device.read_queue(1).unwrap();
        drop(device);
        queue.submit(0, &file, AlignedBuffer::zeroed(4), 0);
        assert!(queue.wait(None, None).unwrap().completions);
        assert_eq!(*queue.next_completion().unwrap().buffer, *b"data");
    }
}

#[test]
fn a_link_in_the_directory_is_not_followed() {
    let (directory, elsewhere) = (TestDirectory::new(), TestDirectory::new());
    std::fs::write(elsewhere.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("d")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("secret"), directory.path().join("x")).unwrap();
    let device = DirectoryDevice::open(directory.path(), AccessMode::ReadWrite).unwrap();
    assert!(device.open("x", Access::Buffered).is_err());
    assert!(device.open("d/secret", Access::Buffered).is_err());
    assert!(device.list("").unwrap().is_empty(), "links are no files of ours");
}

#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TestDirectory::new();
    let device = DirectoryDevice::open(directory.path(), AccessMode::ReadWrite).unwrap();
    device.create("x", Access::Buffered).unwrap();
    let _lock = device.lock(LockMode::Exclusive).unwrap();
    for name in ["x", "lock"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_missing_directory_is_not_found() {
    let directory = TestDirectory::new();
    let opened = DirectoryDevice::open(&directory.path().join("x"), AccessMode::ReadOnly);
    assert_eq!(kind(opened.map(|_| ())), ErrorKind::NotFound);
}

#[test]
fn two_simulated_devices_are_strangers() {
    let (one, other) = (SimDevice::new(1, Faults::none()), SimDevice::new(1, Faults::none()));
    one.create("x", Access::Buffered).unwrap();
    assert!(other.list("").unwrap().is_empty());
}
