use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::Wake;
use std::thread::{self, Thread};

use super::*;
use crate::ErrorKind;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future without any runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn jobs_run_beside_each_other_and_no_more_than_allowed() {
    let pool = Pool::new();
    let barrier = Arc::new(Barrier::new(THREADS_MAX));
    let running = Arc::new(AtomicUsize::new(0));
    let job = || {
        let (barrier, running) = (Arc::clone(&barrier), Arc::clone(&running));
        pool.run(move || {
            let beside = running.fetch_add(1, Ordering::SeqCst) + 1;
            barrier.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            barrier.wait();
            Ok(beside)
        })
    };
    let answers: Vec<_> = (0..2 * THREADS_MAX).map(|_| job()).collect();
    for answer in answers {
        assert!(block_on(answer).unwrap() <= THREADS_MAX);
    }
    assert!(pool.0.0.state.lock().threads <= THREADS_MAX);
}

#[test]
fn a_dropped_future_undoes_what_has_not_begun() {
    let pool = Pool::new();
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let blockers: Vec<_> = (0..THREADS_MAX)
        .map(|_| {
            let wait = Arc::clone(&wait);
            pool.run(move || {
                let _ = wait.lock().recv();
                Ok(())
            })
        })
        .collect();
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let ran = Arc::clone(&ran);
        pool.run(move || {
            ran.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    };
    drop(counted());
    let kept = counted();
    drop(go);
    blockers.into_iter().for_each(|blocker| block_on(blocker).unwrap());
    block_on(kept).unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panic_is_an_error_for_one_and_nothing_to_others() {
    let pool = Pool::new();
    let broken: Answer<()> = pool.run(|| panic!("on purpose"));
    assert_eq!(block_on(broken).unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(block_on(pool.run(|| Ok(7))).unwrap(), 7);
}

#[test]
fn the_threads_end_with_the_pool_after_what_is_left() {
    let pool = Pool::new();
    let shared = Arc::downgrade(&pool.0.0);
    let (sender, receiver) = channel();
    for index in 0..100 {
        let sender = sender.clone();
        // Kept by nobody: those that have not begun may be left out.
        drop(pool.run(move || sender.send(index).map_err(|_| Cause::NotRun.into())));
    }
    let answer = pool.run(|| Ok(1));
    drop((pool, sender));
    assert_eq!(block_on(answer).unwrap(), 1);
    // Ends when the last job with a sender is gone.
    receiver.iter().for_each(drop);
    while shared.strong_count() > 0 {
        thread::yield_now();
    }
}
