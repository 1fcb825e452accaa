use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::channel;
use std::thread;

use blockdev::net::control::{Failure, Handler, serve};

use super::*;

/// Does everything at once.
struct Quick;

impl Handler for Quick {
    fn handle(&self, _: &Request, _: &mut dyn Peer) -> Result<Response, Failure> {
        Ok(Response::Done)
    }
}

#[test]
fn a_connection_that_the_daemon_has_closed_is_made_anew() {
    let dir = std::env::temp_dir().join(format!("siltstone-calls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let listener = UnixListener::bind(dir.join("control.sock")).unwrap();
    let (accepted, connections) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            accepted.send(stream.try_clone().unwrap()).unwrap();
            thread::spawn(move || serve(stream, &Quick, "test", 1));
        }
    });
    let calls = Calls::connect(&dir).unwrap();
    let ask = || calls.ask(&Request::List, &mut |_: &Progress| Ok(()));
    assert!(matches!(ask(), Ok(Response::Done)));
    connections.recv().unwrap().shutdown(Shutdown::Both).unwrap();
    assert!(matches!(ask(), Ok(Response::Done)));
    assert!(connections.try_recv().is_ok(), "by another connection");
    std::fs::remove_dir_all(&dir).unwrap();
}
