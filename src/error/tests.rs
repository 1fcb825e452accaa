use std::error::Error as _;
use std::sync::Arc;

use super::*;

fn io_error() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

#[test]
fn errors_travel_between_threads() {
    fn travels<T: Send + Sync + 'static>() {}
    travels::<Error>();
    assert!(size_of::<Result<()>>() <= size_of::<usize>());
}

#[test]
fn a_wrapped_error_keeps_its_sources_and_says_nothing_twice() {
    let io = lsm_store::Error::Io { action: "reading", file: "seg".into(), source: Arc::new(io_error()) };
    let error = Error::from(Cause::from(NodeError::Store(io.clone())));
    assert_eq!(error.to_string(), io.to_string());
    assert_eq!(error.source().unwrap().to_string(), io_error().to_string());
    assert_eq!(error.kind(), ErrorKind::Io);
    let opening = Error::from(Cause::Directory { action: "opening", path: "/data".into(), source: io_error() });
    assert!(!opening.to_string().contains(&io_error().to_string()));
    assert_eq!(opening.source().unwrap().to_string(), io_error().to_string());
}

#[test]
fn kinds_say_what_to_do() {
    let poisoned = lsm_store::Error::Poisoned(Arc::new(lsm_store::Error::Locked));
    let kinds = [
        (lsm_store::Error::Closed, ErrorKind::Unavailable),
        (lsm_store::Error::Locked, ErrorKind::Busy),
        (lsm_store::Error::QuotaReached, ErrorKind::OutOfSpace),
        (poisoned, ErrorKind::Stopped),
        (lsm_store::Error::Panicked, ErrorKind::Stopped),
    ];
    for (error, kind) in kinds {
        assert_eq!(Error::from(Cause::from(error.clone())).kind(), kind);
        assert_eq!(Error::from(Cause::from(NodeError::Store(error))).kind(), kind);
    }
}
