use std::io::IoSlice;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// A file whose reads last until the test lets them go.
struct GatedFile {
    started: Mutex<Sender<()>>,
    gate: Mutex<Receiver<()>>,
}

impl File for GatedFile {
    fn read_at(&self, buf: &mut [u8], _offset: u64) -> io::Result<()> {
        self.started.lock().send(()).unwrap();
        self.gate.lock().recv().unwrap();
        buf.fill(7);
        Ok(())
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
}

fn gated_file() -> (Arc<dyn File>, Receiver<()>, Sender<()>) {
    let (started, has_started) = channel();
    let (open_gate, gate) = channel();
    (Arc::new(GatedFile { started: Mutex::new(started), gate: Mutex::new(gate) }), has_started, open_gate)
}

#[test]
fn no_more_threads_than_work_and_never_more_than_sixteen() {
    let (file, has_started, open_gate) = gated_file();
    let pool = Arc::new(ReadPool::new());
    let mut queue = PoolQueue::new(Arc::clone(&pool), 40).unwrap();
    assert_eq!(pool.shared.work.lock().threads.len(), 0);
    queue.submit(0, &file, AlignedBuffer::zeroed(8), 0);
    has_started.recv().unwrap();
    assert_eq!(pool.shared.work.lock().threads.len(), 1);
    for token in 1..40 {
        queue.submit(token, &file, AlignedBuffer::zeroed(8), 0);
    }
    assert_eq!(pool.shared.work.lock().threads.len(), THREADS_MAX);
    for _ in 0..40 {
        open_gate.send(()).unwrap();
    }
    let mut tokens = Vec::new();
    while queue.in_flight() > 0 {
        assert!(queue.wait(None, None).unwrap().completions);
        while let Some(completion) = queue.next_completion() {
            assert_eq!(*completion.buffer, [7; 8]);
            tokens.push(completion.token);
        }
    }
    tokens.sort_unstable();
    assert_eq!(tokens, (0..40).collect::<Vec<_>>());
}

#[test]
fn threads_end_with_the_pool_even_when_a_queue_left_reads_behind() {
    let (file, has_started, open_gate) = gated_file();
    let pool = Arc::new(ReadPool::new());
    let mut queue = PoolQueue::new(Arc::clone(&pool), 4).unwrap();
    for token in 0..4 {
        queue.submit(token, &file, AlignedBuffer::zeroed(8), 0);
    }
    has_started.recv().unwrap();
    drop(queue);
    for _ in 0..4 {
        open_gate.send(()).unwrap();
    }
    let shared = Arc::downgrade(&pool.shared);
    drop(pool);
    // Every thread holds the shared part while it runs.
    assert_eq!(shared.strong_count(), 0);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
#[should_panic(expected = "is full")]
fn a_queue_refuses_more_reads_than_its_depth() {
    let (file, _has_started, open_gate) = gated_file();
    open_gate.send(()).unwrap();
    open_gate.send(()).unwrap();
    let mut queue = PoolQueue::new(Arc::new(ReadPool::new()), 1).unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(8), 0);
    queue.submit(1, &file, AlignedBuffer::zeroed(8), 0);
}
