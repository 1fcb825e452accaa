//! Why content did not arrive.

use std::io;
use std::sync::Arc;

use lsm_store::Error;
use net::content::Refusal;
use net::transport::RequestError;

/// Why a transfer ended early. What has come is not lost: the next one does not move it again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The sender's store failed, or the base is no relative of what is sent.
    #[error("what is to be sent cannot be read")]
    Store(#[from] Error),
    /// A question got no answer.
    #[error("the receiver does not answer")]
    Ask(#[from] RequestError),
    /// The receiver refused.
    #[error("the receiver refused: {0}")]
    Refused(Refusal),
    /// The receiver's answer is none to the question: begin again, and if it stays so one of the two is defective.
    #[error("the receiver's answer makes no sense")]
    Senseless,
    /// The receiver has something else in the end: what it was said to have already, it does not. Begin again without a base.
    #[error("the receiver's content has another root in the end")]
    OtherRoot,
    /// Whoever asked for the transfer wants no more of it.
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The machine gives no thread.
    #[error("no thread can be started")]
    Thread(#[source] Arc<io::Error>),
}
