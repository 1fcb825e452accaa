use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::device::directory::{DirectoryDevice, ReadEngine};
use crate::device::tests::TestDirectory;
use crate::device::{Access, AccessMode, Device};

const FILE_BYTES: usize = 1 << 20;

fn test_file(directory: &TestDirectory, access: Access) -> Arc<dyn File> {
    let device = DirectoryDevice::open_with(directory.path(), AccessMode::ReadWrite, ReadEngine::Uring).unwrap();
    let file = device.create("file", access).unwrap();
    let mut content = AlignedBuffer::zeroed(FILE_BYTES);
    content.iter_mut().enumerate().for_each(|(index, byte)| *byte = (index / 4096) as u8);
    file.write_at(&[IoSlice::new(&content)], 0).unwrap();
    file
}

fn drain(queue: &mut UringQueue) -> Vec<Completion> {
    let mut drained = Vec::new();
    while queue.in_flight() > 0 {
        assert!(queue.wait(None, None).unwrap().completions);
        drained.extend(std::iter::from_fn(|| queue.next_completion()));
    }
    drained
}

/// A file that gives what is written into a pipe, when it is written.
struct PipeFile {
    pipe: OwnedFd,
}

fn pipe_file() -> (Arc<dyn File>, OwnedFd) {
    let (pipe, writer) = io::pipe().unwrap();
    (Arc::new(PipeFile { pipe: pipe.into() }), writer.into())
}

impl File for PipeFile {
    fn read_at(&self, _buf: &mut [u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, _bufs: &[IoSlice<'_>], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn alignment(&self) -> usize {
        1
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pipe.as_fd())
    }
}

#[test]
fn a_dropped_queue_waits_until_the_kernel_has_let_go() {
    if probe().is_err() {
        return;
    }
    let (file, writer) = pipe_file();
    let mut queue = UringQueue::new(1).unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(4), 0);
    assert!(queue.next_completion().is_none(), "the kernel has the read, which finds nothing yet");
    rustix::io::write(&writer, b"data").unwrap();
    drop(queue);
    // The read went to its end, into the buffer: nothing is left in the pipe.
    drop(writer);
    assert_eq!(rustix::io::read(file.fd().unwrap(), &mut [0; 4]).unwrap(), 0);
}

/// What came was read past the watch, which had begun to wake: the kernel does not take it out then.
#[test]
fn a_dropped_queue_leaves_no_watch_that_was_waking() {
    if probe().is_err() {
        return;
    }
    let (mut socket, mut peer) = UnixStream::pair().unwrap();
    let mut queue = UringQueue::new(1).unwrap();
    assert_eq!(queue.wait(Some(socket.as_fd()), Some(Duration::ZERO)).unwrap(), Wake::default());
    peer.write_all(b"x").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let (dropped, is_dropped) = mpsc::channel();
    // The end of the peer would wake the watch again.
    let keeper = thread::spawn(move || {
        let in_time = is_dropped.recv_timeout(Duration::from_secs(20)).is_ok();
        drop(peer);
        in_time
    });
    drop(queue);
    dropped.send(()).unwrap();
    assert!(keeper.join().unwrap(), "the queue waited for the peer");
}

#[test]
fn short_reads_are_gone_on_with() {
    if probe().is_err() {
        return;
    }
    let (file, writer) = pipe_file();
    let mut queue = UringQueue::new(1).unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(4), 0);
    for piece in [b"d", b"a", b"t"] {
        rustix::io::write(&writer, piece).unwrap();
        assert_eq!(queue.wait(None, Some(Duration::from_millis(1))).unwrap(), Wake::default());
    }
    rustix::io::write(&writer, b"a").unwrap();
    assert!(queue.wait(None, None).unwrap().completions);
    assert_eq!(*queue.next_completion().unwrap().buffer, *b"data");
    queue.submit(1, &file, AlignedBuffer::zeroed(4), 0);
    rustix::io::write(&writer, b"x").unwrap();
    drop(writer);
    assert!(queue.wait(None, None).unwrap().completions);
    let result = queue.next_completion().unwrap().result;
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_dropped_queue_has_given_every_file_and_buffer_back() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    for started in [false, true] {
        let mut queue = UringQueue::new(64).unwrap();
        for token in 0..61 {
            queue.submit(token, &file, AlignedBuffer::zeroed(8192), token * 8192);
        }
        if started {
            assert!(queue.wait(None, None).unwrap().completions);
        }
        drop(queue);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}

#[test]
fn a_queue_goes_on_in_another_thread_while_nothing_is_in_flight() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    let mut queue = UringQueue::new(2).unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    for page in 1..5_u64 {
        queue = thread::scope(|scope| {
            let moved = || {
                queue.submit(page, &file, AlignedBuffer::zeroed(4096), page * 4096);
                // The watch is left armed: the next thread's ring knows nothing of it.
                assert!(queue.wait(Some(socket.as_fd()), None).unwrap().completions);
                let completion = queue.next_completion().unwrap();
                completion.result.unwrap();
                assert_eq!(*completion.buffer, [page as u8; 4096]);
                queue
            };
            scope.spawn(moved).join().unwrap()
        });
    }
}

#[test]
fn a_queue_dropped_by_another_thread_with_reads_in_flight_gives_its_memory_up() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    // One that the kernel has not been told of, and some that it works on.
    for count in [1, READS_PUSHED_MAX] {
        let before = Arc::strong_count(&file);
        let mut queue = UringQueue::new(16).unwrap();
        for token in 0..count as u64 {
            queue.submit(token, &file, AlignedBuffer::zeroed(4096), 0);
        }
        if queue.ring.is_single_issuer() {
            thread::scope(|scope| scope.spawn(|| drop(queue)).join().unwrap());
            assert_eq!(Arc::strong_count(&file), before + count, "a read keeps its file with its buffer");
        }
    }
}

#[test]
fn the_kernel_is_told_of_a_burst_before_its_end() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    let mut queue = UringQueue::new(64).unwrap();
    for token in 0..2 * READS_PUSHED_MAX as u64 + 3 {
        queue.submit(token, &file, AlignedBuffer::zeroed(4096), token * 4096);
    }
    assert_eq!(queue.ring.pushed(), 3);
    assert_eq!(drain(&mut queue).len(), 2 * READS_PUSHED_MAX + 3);
}

#[test]
fn a_caller_that_never_waits_gets_its_reads() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    let mut queue = UringQueue::new(16).unwrap();
    // Of some the kernel has been told before.
    let count = READS_PUSHED_MAX + 3;
    for token in 0..count as u64 {
        queue.submit(token, &file, AlignedBuffer::zeroed(4096), token * 4096);
    }
    let mut seen = 0;
    while seen < count {
        match queue.next_completion() {
            Some(completion) => seen += usize::from(completion.result.is_ok()),
            None => thread::yield_now(),
        }
    }
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn every_set_up_of_the_ring_reads_and_watches() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Buffered);
    for ring in Ring::of_every_setup(8) {
        let mut queue = UringQueue::new(4).unwrap();
        queue.ring = ring;
        let (socket, mut peer) = UnixStream::pair().unwrap();
        queue.submit(0, &file, AlignedBuffer::zeroed(FILE_BYTES), 0);
        assert!(queue.wait(Some(socket.as_fd()), None).unwrap().completions);
        assert!(drain(&mut queue)[0].result.is_ok());
        peer.write_all(b"x").unwrap();
        assert_eq!(queue.wait(Some(socket.as_fd()), None).unwrap(), Wake { socket_readable: true, completions: false });
    }
}

#[test]
fn a_watch_left_armed_tells_no_old_news() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    let mut queue = UringQueue::new(4).unwrap();
    let (mut socket, mut peer) = UnixStream::pair().unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(4096), 0);
    assert!(queue.wait(Some(socket.as_fd()), None).unwrap().completions);
    queue.next_completion().unwrap().result.unwrap();
    assert!(!queue.watch.is_quiet(), "the watch stays armed");
    // Data comes and is read between two waits: the armed watch has fired for nothing.
    peer.write_all(b"x").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let wake = queue.wait(Some(socket.as_fd()), Some(Duration::from_millis(1))).unwrap();
    assert_eq!(wake, Wake::default());
    peer.write_all(b"y").unwrap();
    assert!(queue.wait(Some(socket.as_fd()), None).unwrap().socket_readable);
}

#[test]
fn a_reused_descriptor_number_is_watched_as_the_new_socket() {
    if probe().is_err() {
        return;
    }
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    let mut queue = UringQueue::new(4).unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (other, mut other_peer) = UnixStream::pair().unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(4096), 0);
    assert!(queue.wait(Some(socket.as_fd()), None).unwrap().completions);
    queue.next_completion().unwrap().result.unwrap();
    assert!(!queue.watch.is_quiet(), "the watch stays armed");
    // As if `socket` had been closed and `other` been opened under its number.
    let mut socket = OwnedFd::from(socket);
    rustix::io::dup2(&other, &mut socket).unwrap();
    other_peer.write_all(b"x").unwrap();
    assert!(queue.wait(Some(socket.as_fd()), None).unwrap().socket_readable);
}

#[test]
#[should_panic(expected = "is full")]
fn a_queue_refuses_more_reads_than_its_depth() {
    assert!(probe().is_ok(), "is full (nothing to test without io_uring)");
    let directory = TestDirectory::new();
    let file = test_file(&directory, Access::Direct);
    let mut queue = UringQueue::new(1).unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(4096), 0);
    queue.submit(1, &file, AlignedBuffer::zeroed(4096), 0);
}
