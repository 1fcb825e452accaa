//! The content of a replica on its way to another node, as of one moment: all of it, or what differs from an older one.
//!
//! The sender says what the blocks hold, by fingerprint; the receiver keeps what it has, finds what its store has for whatever
//! volume, and says what it lacks. That travels as it is stored. So whoever starts again moves only what is missing. Every
//! block is proved by its fingerprint and the whole by its root (`docs/roots.md`): nothing that anybody says is taken on trust.
//! The questions and answers are `net::content`'s, specified in `docs/protocol.md`, "Content".
//!
//! A block that a node cannot read any more it borrows from another, by fingerprint ([`repair`]).

mod error;
mod form;
mod pace;
mod receiver;
mod repair;
mod sender;
mod source;
#[cfg(test)]
mod tests;

pub use error::SendError;
pub use pace::{Pace, Throttle};
pub use receiver::Receiver;
pub use repair::{RepairError, Repaired, lend, repair};
pub use sender::{Progress, Sent, send};
pub use source::Source;

use net::envelope::Message;
use net::transport::RequestError;

/// A way to ask the other node.
pub trait Asking: Sync {
    /// Asks and waits for the answer. Called by several threads at once.
    ///
    /// # Errors
    /// Those of the transport: the transfer or repair ends then.
    fn ask(&self, message: Message) -> Result<Message, RequestError>;
}
