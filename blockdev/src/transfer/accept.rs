//! The receiver's side of an exchange, from its first word to its last.

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::answer::{Answer, MESSAGE_BYTES_MAX};
#[cfg(feature = "tls")]
use super::answer::{AnswerEncoder, Greeting};
use super::error::{Result, TransferError};
use super::receiver::{ReceiveOptions, Received, Receiver};
use super::sender::Outlet;
use super::{Watch, flow};
use crate::name::VolumeName;
use crate::node::Node;

/// Takes a snapshot from a sender that asks ([`super::offer`]) into the volume `name`: a new one, or one that is here. A full
/// stream then goes on from the newest snapshot of that.
///
/// # Errors
/// As [`Receiver::push`] and [`Receiver::finish`], and [`crate::node::NodeError::ReceptionUnderWay`]. Nothing was received then, and the
/// sender was told why if it still listens. What came waits for 7 days, unseen, to be gone on with by the next that is accepted into
/// the volume on the same base and of the same size: [`Node::receptions`]. But not if it may be wrong or found no room.
pub fn accept(node: Arc<Node>, name: VolumeName, options: ReceiveOptions, outlet: &mut dyn Outlet) -> Result<Received> {
    let mut receiver = Receiver::answering(node, name, options);
    let received = converse(&mut receiver, outlet);
    if let Err(error) = &received {
        receiver.break_off(error);
    }
    let last = match &received {
        Ok(received) => Answer::Received {
            root: received.root.digest,
            snapshot: received.snapshot.info.id.0,
            name: received.snapshot.name.to_string(),
        },
        Err(error) => failed(error),
    };
    if outlet.write(&receiver.last_answer(&last)).is_err() {
        // What was received stays: the sender learns of it when it sends the same again.
        tracing::debug!("the sender no longer listens");
    }
    received
}

fn converse(receiver: &mut Receiver, outlet: &mut dyn Outlet) -> Result<Received> {
    while !receiver.is_over() {
        let answers = receiver.take_answers();
        if !answers.is_empty() {
            outlet.write(&answers)?;
        }
        let bytes = outlet.read()?;
        if bytes.is_empty() {
            break;
        }
        told(outlet, "proving the base", |watch| receiver.push(&bytes, watch))?;
        if let Some(size) = receiver.size_bytes() {
            outlet.progress("receiving", receiver.position_bytes(), size)?;
        }
    }
    told(outlet, "proving the root", |watch| receiver.name_it(watch))
}

/// Does work that a watch hears of, and passes on what that hears.
fn told<T>(outlet: &mut dyn Outlet, what: &str, work: impl FnOnce(&mut Watch<'_>) -> Result<T>) -> Result<T> {
    let mut stopped = None;
    let done = work(&mut |done, total| -> ControlFlow<()> { flow(outlet.progress(what, done, total), &mut stopped) });
    done.map_err(|error| stopped.unwrap_or(error))
}

/// All that is said to a sender from whom nothing is taken.
#[cfg(feature = "tls")]
pub(super) fn refusal(error: &TransferError) -> Vec<u8> {
    let (mut encoder, mut said) = (AnswerEncoder::default(), Vec::new());
    encoder.greet(Greeting::OURS, &mut said);
    encoder.encode(&failed(error), &mut said);
    said
}

fn failed(error: &TransferError) -> Answer {
    Answer::Failed { kind: error.kind(), message: message_of(error) }
}

/// An error with its causes, cut to what a failure may say.
fn message_of(error: &TransferError) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}
