use siltstone::control::{Client, NoTransfer};
use siltstone::store::clock::SystemClock;

use super::*;

/// Panics when it is asked for what is there, thinks for a while about the space, and knows nothing else.
struct Odd(Arc<dyn Clock>);

impl Handler for Odd {
    fn handle(&self, request: &Request, _: &mut dyn Peer) -> Result<Response, Failure> {
        match request {
            Request::List => panic!("planted"),
            Request::ListTrash => self.0.sleep(Duration::from_millis(800)),
            _ => {}
        }
        Ok(Response::Done)
    }
}

struct Bench {
    dir: PathBuf,
    server: Option<ControlServer>,
    clock: Arc<dyn Clock>,
}

impl Bench {
    fn new(name: &str, patience: Patience) -> Self {
        let dir = std::env::temp_dir().join(format!("silt-control-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let handler = Arc::new(Odd(Arc::clone(&clock)));
        let server = ControlServer::start(&dir.join("sock"), handler, patience, Arc::clone(&clock)).unwrap();
        Self { dir, server: Some(server), clock }
    }

    fn connect(&self) -> Result<Client<UnixStream>, control::Error> {
        Client::connect(UnixStream::connect(self.dir.join("sock")).unwrap(), "test")
    }

    fn open(&self) -> usize {
        self.server.as_ref().unwrap().shared.connections().open.len()
    }

    fn wait_until(&self, is_so: impl Fn() -> bool) {
        let begun = self.clock.monotonic();
        while !is_so() {
            assert!(self.clock.monotonic() - begun < Duration::from_secs(10), "waited for ten seconds");
            self.clock.sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.take().unwrap().stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_handler_that_panics_costs_its_connection_alone() {
    let bench = Bench::new("panic", Patience::default());
    for _ in 0..CONNECTIONS_MAX + 1 {
        let lost = bench.connect().unwrap().call(&Request::List, &mut NoTransfer);
        assert!(matches!(lost, Err(control::Error::Stream(_))), "{lost:?}");
    }
    bench.wait_until(|| bench.open() == 0);
    assert_eq!(bench.connect().unwrap().call(&Request::Status, &mut NoTransfer).unwrap(), Response::Done);
}

#[test]
fn who_comes_when_all_places_are_taken_is_told() {
    let bench = Bench::new("full", Patience::default());
    let mut taken: Vec<_> = (0..CONNECTIONS_MAX).map(|_| bench.connect().unwrap()).collect();
    match bench.connect() {
        Err(control::Error::Failed(failure)) => assert_eq!(failure.kind, Kind::Busy),
        other => panic!("{other:?}"),
    }
    taken.pop();
    bench.wait_until(|| bench.open() < CONNECTIONS_MAX);
    bench.connect().unwrap();
}

#[test]
fn an_idle_connection_is_closed_and_one_at_work_is_not() {
    let patience = Patience { greeting: Duration::from_secs(10), idle: Duration::from_millis(500) };
    let bench = Bench::new("idle", patience);
    let mut client = bench.connect().unwrap();
    assert_eq!(client.call(&Request::ListTrash, &mut NoTransfer).unwrap(), Response::Done, "it took longer than idle");
    bench.wait_until(|| bench.open() == 0);
    assert!(matches!(client.call(&Request::Status, &mut NoTransfer), Err(control::Error::Stream(_))));
}
