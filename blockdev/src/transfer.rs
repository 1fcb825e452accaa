//! Snapshots on their way between nodes, as streams of bytes.
//!
//! `format`, `answer`, `chain` and `decoder` are bytes and rules without I/O (`docs/stream-format.md`); [`send`] and [`Receiver`]
//! connect them to a node, [`offer`] and [`accept`] two of them that hear each other. What is received gets its name only when all of it has come, every block has the fingerprint that the stream says,
//! and the whole has the root that the sender gave; before that nobody sees it, and a crash or an error leaves nothing but what
//! an exchange can go on with.

mod accept;
pub(crate) mod adopt;
mod answer;
mod asking;
mod chain;
mod decoder;
mod error;
mod format;
mod receiver;
#[cfg(feature = "tls")]
pub mod remote;
mod root;
mod sender;
mod source;
#[cfg(test)]
mod tests;
mod wants;

pub use accept::accept;
pub use decoder::StreamDecoder;
pub use error::{Result, StreamError, TransferError};
pub use format::{Base, Begin, End, OFFER_BLOCKS_MAX, Record, StreamEncoder};
#[cfg(feature = "cluster")]
pub(crate) use receiver::make_zero;
pub use receiver::{ReceiveOptions, Received, Receiver};
#[cfg(feature = "cluster")]
pub(crate) use root::root_of;
pub use root::{BytesRoot, Rooted};
pub use sender::{Outlet, Sent, offer, send};
pub use source::Source;

use std::ops::ControlFlow;

/// Hears of long work how far it has come, in bytes done and in all; ends it by `Break`.
pub type Watch<'w> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'w;

/// Goes on as long as nothing fails, and keeps what does.
fn flow(result: Result<()>, failed: &mut Option<TransferError>) -> ControlFlow<()> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *failed = Some(error);
            ControlFlow::Break(())
        }
    }
}

fn watched(flow: ControlFlow<()>) -> Result<()> {
    if flow.is_break() { Err(TransferError::Stopped) } else { Ok(()) }
}
