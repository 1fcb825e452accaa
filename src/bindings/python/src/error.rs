//! An exception for each kind of error, all of them `siltstone.Error`s.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use siltstone::ErrorKind;

macro_rules! exceptions {
    ($($name:ident: $doc:literal,)*) => {
        $(pyo3::create_exception!(siltstone, $name, Error, $doc);)*
    };
}

pyo3::create_exception!(siltstone, Error, PyException, "A failed operation; what to do about it is in the class.");

exceptions! {
    NotFound: "The thing named does not exist: check the name.",
    Exists: "The thing named exists already: choose another name.",
    Busy: "Somebody else uses it: end that use, or try again later.",
    OutOfSpace: "No room for new data: free or add space.",
    Corrupt: "What is on disk is not what was written: restore it from a backup.",
    Invalid: "The request makes no sense: correct it.",
    ReadOnly: "It can only be read.",
    Unavailable: "It was closed, or its daemon is gone: open it again.",
    Unsupported: "The other side, or what wrote the store, is newer: use the newer version. Or a replicated volume cannot do it yet.",
    Cancelled: "Ended by the caller's own wish.",
    Stopped: "The store met an I/O error it must not retry: close it and open it again.",
    IoError: "The machine failed to do an I/O.",
}

/// The exception for an error of the library.
pub(crate) fn raised(error: siltstone::Error) -> PyErr {
    // With its causes.
    let message = format!("{error:#}");
    match error.kind() {
        ErrorKind::NotFound => NotFound::new_err(message),
        ErrorKind::Exists => Exists::new_err(message),
        ErrorKind::Busy => Busy::new_err(message),
        ErrorKind::OutOfSpace => OutOfSpace::new_err(message),
        ErrorKind::Corrupt => Corrupt::new_err(message),
        ErrorKind::Invalid => Invalid::new_err(message),
        ErrorKind::ReadOnly => ReadOnly::new_err(message),
        ErrorKind::Unavailable => Unavailable::new_err(message),
        ErrorKind::Unsupported => Unsupported::new_err(message),
        ErrorKind::Cancelled => Cancelled::new_err(message),
        ErrorKind::Stopped => Stopped::new_err(message),
        ErrorKind::Io => IoError::new_err(message),
        // Kinds that are younger than this match too.
        _ => Error::new_err(message),
    }
}

/// The exception for what was closed here.
pub(crate) fn closed(what: &str) -> PyErr {
    Unavailable::new_err(format!("{what} is closed"))
}

/// Does what may wait with the interpreter released.
pub(crate) fn waiting<T: Send>(py: Python<'_>, job: impl FnOnce() -> siltstone::Result<T> + Send) -> PyResult<T> {
    py.detach(job).map_err(raised)
}
