//! How far something long has come, and ending it early.

use std::ops::ControlFlow;

use crate::error::{Cause, Caused};

/// How far an operation has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all, if that is known.
    pub total_bytes: Option<u64>,
}

/// Hears of progress a few times a second and may end the operation by [`ControlFlow::Break`]; it then fails with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). [`unwatched`] lets everything run to its end.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress) -> ControlFlow<()> + 'a);

/// A [`Watch`] that never ends anything: `store.usage(&mut siltstone::unwatched)`.
pub fn unwatched(_progress: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Tells `watch`, and turns its wish to end into an error.
pub(crate) fn tell(watch: Watch<'_>, done_bytes: u64, total_bytes: Option<u64>) -> Caused<()> {
    match watch(Progress { done_bytes, total_bytes }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Cause::Cancelled),
    }
}
