//! What calls come to: a code for programs, and a message for people that stays with the thread.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use siltstone::ErrorKind;

/// What a call came to. Below 0 it failed, and silt_error_message() says more. More codes may come: take those that you do not
/// know as SILT_STATUS_OTHER.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// Of functions that end in _next: there is no more.
    End = 1,
    /// The thing named does not exist: check the name.
    NotFound = -1,
    /// The thing named exists already: choose another name.
    Exists = -2,
    /// Somebody else uses it: end that use, or try again later.
    Busy = -3,
    /// No room for new data: free or add space.
    OutOfSpace = -4,
    /// What is on disk is not what was written: restore it from a backup.
    Corrupt = -5,
    /// The request makes no sense, or a pointer is null: correct it.
    Invalid = -6,
    /// It can only be read.
    ReadOnly = -7,
    /// The store was closed, or its daemon is gone: open it, or connect to it, again.
    Unavailable = -8,
    /// The other side, or what wrote the store, is newer: use the newer version. Or a replicated volume cannot do it yet, as it has no
    /// fingerprints and no root.
    Unsupported = -9,
    /// Ended by the caller's own wish. No function here can be ended yet.
    Cancelled = -10,
    /// The store met an I/O error it must not retry, and has stopped: close it and open it again.
    Stopped = -11,
    /// The machine failed to do an I/O. Through a daemon also where the store itself would say SILT_STATUS_CORRUPT or
    /// SILT_STATUS_STOPPED: its log and silt status say which.
    Io = -12,
    /// None of these: the message says more. It may be a defect.
    Other = -13,
}

impl Status {
    fn name(self) -> &'static CStr {
        match self {
            Self::Ok => c"ok",
            Self::End => c"end",
            Self::NotFound => c"not found",
            Self::Exists => c"exists",
            Self::Busy => c"busy",
            Self::OutOfSpace => c"out of space",
            Self::Corrupt => c"corrupt",
            Self::Invalid => c"invalid",
            Self::ReadOnly => c"read-only",
            Self::Unavailable => c"unavailable",
            Self::Unsupported => c"unsupported",
            Self::Cancelled => c"cancelled",
            Self::Stopped => c"stopped",
            Self::Io => c"I/O error",
            Self::Other => c"other error",
        }
    }
}

const ALL: [Status; 15] = [
    Status::Ok,
    Status::End,
    Status::NotFound,
    Status::Exists,
    Status::Busy,
    Status::OutOfSpace,
    Status::Corrupt,
    Status::Invalid,
    Status::ReadOnly,
    Status::Unavailable,
    Status::Unsupported,
    Status::Cancelled,
    Status::Stopped,
    Status::Io,
    Status::Other,
];

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: Status::Invalid, message: message.into() }
    }
}

impl From<siltstone::Error> for Failure {
    fn from(error: siltstone::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => Status::NotFound,
            ErrorKind::Exists => Status::Exists,
            ErrorKind::Busy => Status::Busy,
            ErrorKind::OutOfSpace => Status::OutOfSpace,
            ErrorKind::Corrupt => Status::Corrupt,
            ErrorKind::Invalid => Status::Invalid,
            ErrorKind::ReadOnly => Status::ReadOnly,
            ErrorKind::Unavailable => Status::Unavailable,
            ErrorKind::Unsupported => Status::Unsupported,
            ErrorKind::Cancelled => Status::Cancelled,
            ErrorKind::Stopped => Status::Stopped,
            ErrorKind::Io => Status::Io,
            // Kinds that are younger than this match too.
            _ => Status::Other,
        };
        // With its causes.
        Self { status, message: format!("{error:#}") }
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Does what a function is for, and says what that came to.
pub(crate) fn guard(job: impl FnOnce() -> Result<(), Failure>) -> Status {
    guard_or(|| job().map(|()| Status::Ok))
}

/// As [`guard`], for what has two ways to succeed.
pub(crate) fn guard_or(job: impl FnOnce() -> Result<Status, Failure>) -> Status {
    // What a panic leaves half done belongs to a handle that the caller is told to close; the store itself keeps nothing under a
    // lock that a panic could tear.
    let failure = match catch_unwind(AssertUnwindSafe(job)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure { status: Status::Other, message: format!("a defect: {}", words_of(&*panic)) },
    };
    // A message that cannot be kept, because the thread is ending, is left out.
    let _ = MESSAGE.try_with(|kept| *kept.borrow_mut() = text(failure.message));
    failure.status
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// For C, where a zero ends a text.
pub(crate) fn text(words: String) -> CString {
    CString::new(words.replace('\0', "?")).expect("it has no zeros")
}

/// What the last call of this thread that failed has to say, in words for people; empty before the first. Valid until this thread's
/// next call that fails, or its end.
///
/// Any thread, any time.
#[unsafe(no_mangle)]
pub extern "C" fn silt_error_message() -> *const c_char {
    MESSAGE.try_with(|kept| kept.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// A code in a word or two, such as "not found"; "other error" for one that this library does not know. Valid for good.
///
/// Any thread, any time.
#[unsafe(no_mangle)]
pub extern "C" fn silt_status_name(status: i32) -> *const c_char {
    let known = ALL.into_iter().find(|known| *known as i32 == status);
    known.unwrap_or(Status::Other).name().as_ptr()
}

#[cfg(test)]
mod tests;
