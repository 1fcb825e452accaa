use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use super::*;

/// What a fake daemon does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Refuse(Errno),
    Break,
    Away,
}

/// A daemon that plays a script and then works.
#[derive(Default)]
struct Daemon {
    script: Mutex<VecDeque<Step>>,
    now: Mutex<Duration>,
    done: Mutex<Vec<String>>,
    connection_count: AtomicUsize,
}

struct Peer(Arc<Daemon>);
struct Connector(Arc<Daemon>);

impl Daemon {
    fn serve(&self, what: String) -> Result<(), RemoteError> {
        let step = self.script.lock().pop_front();
        match step {
            Some(Step::Refuse(errno)) => Err(RemoteError::Refused(errno)),
            Some(_) => Err(RemoteError::Lost(io::ErrorKind::BrokenPipe.into())),
            None => {
                self.done.lock().push(what);
                Ok(())
            }
        }
    }
}

impl RemoteDisk for Peer {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        buffer.fill(7);
        self.0.serve(format!("read {offset}+{}", buffer.len()))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), RemoteError> {
        self.0.serve(format!("write {offset}+{}", data.len()))
    }

    fn zero(&self, offset: u64, len: u64, deallocate: bool) -> Result<(), RemoteError> {
        self.0.serve(format!("zero {offset}+{len} {deallocate}"))
    }

    fn flush(&self) -> Result<(), RemoteError> {
        self.0.serve("flush".to_owned())
    }
}

impl Connect for Connector {
    type Disk = Peer;

    fn connect(&self) -> io::Result<Peer> {
        let mut script = self.0.script.lock();
        if script.front() == Some(&Step::Away) {
            script.pop_front();
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.0.connection_count.fetch_add(1, Ordering::Relaxed);
        Ok(Peer(Arc::clone(&self.0)))
    }
}

/// Time that passes only by sleeping.
struct FakeClock(Arc<Daemon>);

impl Clock for FakeClock {
    fn monotonic(&self) -> Duration {
        *self.0.now.lock()
    }

    fn wall(&self) -> Duration {
        self.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        *self.0.now.lock() += duration;
    }
}

struct Fixture {
    daemon: Arc<Daemon>,
    disk: ReconnectingDisk<Connector>,
    given_up: Arc<AtomicUsize>,
}

fn fixture(timeout: Duration, script: &[Step]) -> Fixture {
    let daemon = Arc::new(Daemon { script: Mutex::new(script.iter().copied().collect()), ..Daemon::default() });
    let given_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given_up);
    let disk = ReconnectingDisk::new(
        Connector(Arc::clone(&daemon)),
        Peer(Arc::clone(&daemon)),
        Arc::new(FakeClock(Arc::clone(&daemon))),
        timeout,
        Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }),
    );
    Fixture { daemon, disk, given_up }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn an_unanswered_request_is_sent_again_on_the_next_connection() {
    let f = fixture(MINUTE, &[Step::Break, Step::Away, Step::Away, Step::Break]);
    let mut buffer = [0; 3];
    f.disk.read(5, &mut buffer).unwrap();
    assert_eq!(buffer, [7; 3]);
    f.disk.write(8, b"12").unwrap();
    assert_eq!(*f.daemon.done.lock(), ["read 5+3", "write 8+2"]);
    assert_eq!(f.daemon.connection_count.load(Ordering::Relaxed), 2);
    assert_eq!(f.given_up.load(Ordering::Relaxed), 0);
}

#[test]
fn a_daemon_that_is_shutting_down_is_left_for_its_successor() {
    let f = fixture(MINUTE, &[Step::Refuse(Errno::SHUTDOWN)]);
    f.disk.flush().unwrap();
    assert_eq!(*f.daemon.done.lock(), ["flush"]);
    assert_eq!(f.daemon.connection_count.load(Ordering::Relaxed), 1);
}

#[test]
fn refusals_are_passed_through() {
    let f = fixture(MINUTE, &[Step::Refuse(Errno::NOSPC), Step::Refuse(Errno::IO)]);
    assert_eq!(f.disk.write(0, b"1"), Err(Errno::NOSPC));
    assert_eq!(f.disk.read(0, &mut [0]), Err(Errno::IO));
    f.disk.zero(1, 2, true).unwrap();
    assert_eq!(*f.daemon.done.lock(), ["zero 1+2 true"]);
}

#[test]
fn io_fails_for_good_once_the_timeout_has_passed() {
    let mut script = vec![Step::Break];
    script.extend([Step::Away; 5]);
    let f = fixture(RETRY_INTERVAL * 5, &script);
    assert_eq!(f.disk.write(0, b"1"), Err(Errno::IO));
    assert_eq!(*f.daemon.now.lock(), RETRY_INTERVAL * 5);
    // The daemon would answer by now.
    assert_eq!(f.disk.read(0, &mut [0]), Err(Errno::IO));
    assert_eq!(f.given_up.load(Ordering::Relaxed), 1);
    assert!(f.daemon.done.lock().is_empty());
}

#[test]
fn one_attempt_less_than_the_timeout_still_works() {
    let mut script = vec![Step::Break];
    script.extend([Step::Away; 4]);
    let f = fixture(RETRY_INTERVAL * 5, &script);
    f.disk.write(0, b"1").unwrap();
    assert_eq!(f.given_up.load(Ordering::Relaxed), 0);
}

#[test]
fn a_daemon_that_drops_every_connection_runs_into_the_timeout() {
    let f = fixture(RETRY_INTERVAL * 5, &[Step::Break; 100]);
    assert_eq!(f.disk.flush(), Err(Errno::IO));
    assert_eq!(f.given_up.load(Ordering::Relaxed), 1);
    assert_eq!(f.daemon.connection_count.load(Ordering::Relaxed), 5);
}

#[test]
fn an_answer_starts_the_timeout_anew() {
    let away = [Step::Away; 4];
    let f = fixture(RETRY_INTERVAL * 5, &[]);
    for _ in 0..3 {
        f.daemon.script.lock().push_back(Step::Break);
        f.daemon.script.lock().extend(away);
        f.disk.flush().unwrap();
    }
    assert_eq!(f.given_up.load(Ordering::Relaxed), 0);
}

#[test]
fn nothing_is_written_after_a_failed_flush() {
    let f = fixture(MINUTE, &[Step::Refuse(Errno::IO)]);
    assert_eq!(f.disk.flush(), Err(Errno::IO));
    assert_eq!(f.disk.flush(), Err(Errno::IO));
    assert_eq!(f.disk.write(0, b"1"), Err(Errno::IO));
    assert_eq!(f.disk.zero(0, 1, false), Err(Errno::IO));
    f.disk.read(0, &mut [0]).unwrap();
    assert_eq!(*f.daemon.done.lock(), ["read 0+1"]);
}

#[test]
fn a_late_failure_of_an_old_connection_spares_the_new_one() {
    let f = fixture(MINUTE, &[Step::Break]);
    f.disk.flush().unwrap();
    f.disk.lost(0, &io::ErrorKind::BrokenPipe.into());
    f.disk.flush().unwrap();
    assert_eq!(f.daemon.connection_count.load(Ordering::Relaxed), 1);
}
