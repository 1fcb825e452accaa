//! Outliving servers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::frontend::nbd::testing::{Bent, dial, server};
use crate::frontend::nbd::{Limits, Server};

/// Time that passes only by sleeping.
#[derive(Default)]
struct SteppedClock {
    now_ms: AtomicU64,
}

impl Clock for SteppedClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Duration {
        self.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.now_ms.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

/// A session with whatever server is in the slot.
fn session(slot: &Arc<Mutex<Option<Server>>>, clock: Arc<SteppedClock>) -> Session {
    let slot = Arc::clone(slot);
    let connector = move || {
        let slot = slot.lock();
        let socket = match &*slot {
            Some(server) => dial(server),
            None => std::os::unix::net::UnixStream::pair().unwrap().0,
        };
        Client::from_socket(socket.into(), "vol", ClientOptions::default())
    };
    Session::with_connector(connector, Retry::default(), clock).unwrap()
}

#[test]
fn a_restarted_server_is_found_again_and_asked_again() {
    let export = Bent::new(1 << 20);
    let slot = Arc::new(Mutex::new(Some(server(export.clone(), Limits::default()))));
    let session = session(&slot, Arc::default());
    session.write(0, b"before", false).unwrap();
    for round in 2..5 {
        let new = server(export.clone(), Limits::default());
        drop(slot.lock().replace(new));
        assert_eq!(session.read(0, 6).unwrap(), b"before");
        assert_eq!(session.connection_count(), round);
    }
}

#[test]
fn threads_share_the_new_connection() {
    let export = Bent::new(1 << 20);
    let slot = Arc::new(Mutex::new(Some(server(export.clone(), Limits::default()))));
    let session = session(&slot, Arc::default());
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let session = &session;
            scope.spawn(move || {
                for round in 0..100_u64 {
                    session.write(thread * 4096, &[round as u8; 4096], false).unwrap();
                    assert_eq!(session.read(thread * 4096, 4096).unwrap(), [round as u8; 4096]);
                }
            });
        }
        for _ in 0..5 {
            let new = server(export.clone(), Limits::default());
            drop(slot.lock().replace(new));
        }
    });
    assert!(session.connection_count() <= 6);
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    let slot = Arc::new(Mutex::new(Some(server(Bent::new(1 << 20), Limits::default()))));
    let clock = Arc::<SteppedClock>::default();
    let session = session(&slot, Arc::clone(&clock));
    drop(slot.lock().take());
    let error = session.flush().unwrap_err();
    assert!(error.is_connection_lost());
    let waited = clock.monotonic();
    let Retry { pause, give_up_after } = Retry::default();
    assert!(waited >= give_up_after && waited <= give_up_after + pause);
}
