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
    assert_eq!(format!("{opening:#}"), format!("{opening}: {}", io_error()));
    assert_eq!(format!("{:#}", Error::from(Cause::Cancelled)), "cancelled");
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
        assert_eq!(Error::from(Cause::from(NodeError::Store(error.clone()))).kind(), kind);
        assert_eq!(Error::from(Cause::from(TransferError::from(error))).kind(), kind);
    }
}

#[test]
fn readers_get_errors_with_what_to_do_inside() {
    for (cause, kind) in [
        (lsm_store::Error::Closed, io::ErrorKind::NotConnected),
        (lsm_store::Error::Corrupt { file: "seg".into(), offset: 0, why: "torn" }, io::ErrorKind::InvalidData),
        (lsm_store::Error::Locked, io::ErrorKind::Other),
    ] {
        let error = Error::from(Cause::from(cause));
        let (text, expected) = (error.to_string(), error.kind());
        let read = io::Error::from(error);
        assert_eq!((read.kind(), read.to_string()), (kind, text));
        let inner = read.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        assert_eq!(inner.map(Error::kind), Some(expected));
    }
}

#[cfg(feature = "connect")]
#[test]
fn a_daemon_says_what_to_do_as_the_engine_does() {
    let failed = |kind| Error::from(Cause::from(control::Error::Failed(control::Failure::new(kind, "it failed"))));
    for (kind, expected) in [
        (control::Kind::Busy, ErrorKind::Busy),
        (control::Kind::Poisoned, ErrorKind::Stopped),
        (control::Kind::Unsupported, ErrorKind::Unsupported),
        (control::Kind::Protocol, ErrorKind::Other),
    ] {
        assert_eq!(failed(kind).kind(), expected);
    }
    let gone = control::Error::Stream(io_error());
    assert_eq!(Error::from(Cause::from(gone)).kind(), ErrorKind::Unavailable);

    let nbd = |error| Error::from(Cause::from(error)).kind();
    let refused = |reply| ClientError::Refused { export: "disk".into(), reply, message: String::new() };
    assert_eq!(nbd(ClientError::Server { error: Errno::NOSPC }), ErrorKind::OutOfSpace);
    assert_eq!(nbd(ClientError::Server { error: Errno::PERM }), ErrorKind::ReadOnly);
    assert_eq!(nbd(ClientError::Server { error: Errno::IO }), ErrorKind::Io);
    assert_eq!(nbd(refused(OptionReply::ERR_UNKNOWN)), ErrorKind::NotFound);
    assert_eq!(nbd(refused(OptionReply::ERR_POLICY)), ErrorKind::Busy);
    assert_eq!(nbd(refused(OptionReply::ERR_SHUTDOWN)), ErrorKind::Unavailable);
}
