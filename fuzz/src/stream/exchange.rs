//! Both ends of an exchange, each of which hears what a script made of the other's side of one that went well.
//!
//! An end that waits for more than there is hears that the other has ended.

use std::sync::mpsc::{Receiver as Inbox, Sender as Post, channel};
use std::thread;

use blockdev::transfer::{accept, offer};

use super::*;

/// What both ends said in an exchange that went well, and the nodes to hear it again.
pub struct Exchange {
    sender: Arc<Node>,
    receiver: SimDevice,
    /// The sender's bytes.
    said: Vec<u8>,
    /// The receiver's.
    answered: Vec<u8>,
    /// The root of what is sent.
    root: Root,
    /// The root of what the receiver has.
    base: Root,
}

/// One end of a link, which notes what it says.
struct End {
    post: Post<Vec<u8>>,
    inbox: Inbox<Vec<u8>>,
    said: Vec<u8>,
}

impl Outlet for End {
    fn write(&mut self, bytes: &[u8]) -> TransferResult<()> {
        self.said.extend_from_slice(bytes);
        self.post.send(bytes.to_vec()).map_err(|_| TransferError::Stopped)
    }

    fn read(&mut self) -> TransferResult<Vec<u8>> {
        // The other end has ended.
        Ok(self.inbox.recv().unwrap_or_default())
    }

    fn progress(&mut self, _what: &str, _done: u64, _total: u64) -> TransferResult<()> {
        Ok(())
    }
}

/// An end that hears what was said before, and whom nobody hears.
struct Recorded<'a> {
    rest: &'a [u8],
}

impl Outlet for Recorded<'_> {
    fn write(&mut self, _bytes: &[u8]) -> TransferResult<()> {
        Ok(())
    }

    fn read(&mut self) -> TransferResult<Vec<u8>> {
        let (piece, rest) = self.rest.split_at(self.rest.len().min(PIECE_BYTES));
        self.rest = rest;
        Ok(piece.to_vec())
    }

    fn progress(&mut self, _what: &str, _done: u64, _total: u64) -> TransferResult<()> {
        Ok(())
    }
}

fn accepted(node: &Arc<Node>, outlet: &mut dyn Outlet) -> Result<Root, TransferError> {
    let options = ReceiveOptions { codec: Codec::Lz4, force: true };
    accept(Arc::clone(node), name("vm"), options, outlet).map(|received| received.root)
}

fn offered(node: &Arc<Node>, outlet: &mut dyn Outlet) -> Result<Root, TransferError> {
    offer(node, &name("vm@b"), None, outlet).map(|sent| sent.root)
}

/// Holds an exchange that goes well: the root of what was sent, and what sender and receiver said.
fn held(from: &Arc<Node>, to: Arc<Node>) -> Result<(Root, [Vec<u8>; 2]), Violation> {
    let ((ours_post, theirs_inbox), (theirs_post, ours_inbox)) = (channel(), channel());
    let mut ours = End { post: ours_post, inbox: ours_inbox, said: Vec::new() };
    let mut theirs = End { post: theirs_post, inbox: theirs_inbox, said: Vec::new() };
    let (sent, said, receiving) = thread::scope(|scope| {
        let receiving = scope.spawn(move || (accepted(&to, &mut theirs), theirs.said));
        let sent = offered(from, &mut ours);
        // What the receiver waits for comes no more, if it waits.
        drop((ours.post, ours.inbox));
        (sent, ours.said, receiving.join())
    });
    let (received, answered) = receiving.map_err(|_| Violation("the receiver panicked".into()))?;
    let root = sent.map_err(broken)?;
    match received.map_err(broken)? == root {
        true => Ok((root, [said, answered])),
        false => Err(Violation("something else was received".into())),
    }
}

impl Exchange {
    /// Holds one that goes well.
    ///
    /// # Errors
    /// If it does not: a bug to find by other tests.
    pub fn hold() -> Result<Self, Violation> {
        let Pair { from, to, base } = Pair::make()?;
        let (root, [said, answered]) = held(&from, opened(&to.process_death())?)?;
        Ok(Self { sender: from, receiver: to, said, answered, root, base })
    }

    /// Has the receiver hear what `script` makes of the sender's side.
    ///
    /// # Errors
    /// If what is there afterwards is neither all that was sent nor what was there before, or the next exchange does not bring it.
    pub fn try_sender(&self, script: &[u8]) -> Result<(), Violation> {
        let node = opened(&self.receiver.process_death())?;
        let before = names(&node);
        match accepted(&node, &mut Recorded { rest: &edited(&self.said, script) }) {
            Ok(received) if received == self.root && root(&node, "vm")? == self.root => Ok(()),
            Err(_) if names(&node) == before && root(&node, "vm")? == self.base => self.goes_on(node, script),
            Ok(_) => Err(Violation(format!("{script:?} brings something else"))),
            Err(error) => Err(Violation(format!("{script:?} leaves something: {error}"))),
        }
    }

    /// Whatever was kept of what the receiver heard, the next exchange ends well.
    fn goes_on(&self, node: Arc<Node>, script: &[u8]) -> Result<(), Violation> {
        let (received, _) = held(&self.sender, Arc::clone(&node))
            .map_err(|Violation(why)| Violation(format!("{script:?} leaves what cannot be gone on with: {why}")))?;
        match received == self.root && root(&node, "vm")? == self.root && node.receptions().is_empty() {
            true => Ok(()),
            false => Err(Violation(format!("{script:?} leaves what is gone on with wrongly"))),
        }
    }

    /// Has the sender hear what `script` makes of the receiver's side. It says that all was received only if it was told so of
    /// this very root.
    ///
    /// # Errors
    /// If it says so of something else.
    pub fn try_receiver(&self, script: &[u8]) -> Result<(), Violation> {
        let answers = edited(&self.answered, script);
        match offered(&self.sender, &mut Recorded { rest: &answers }) {
            Ok(root) if root == self.root && answers.windows(32).any(|bytes| bytes == root.digest) => Ok(()),
            Ok(_) => Err(Violation(format!("{script:?} is believed"))),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_exchange_is_received_as_it_was_sent_or_not_at_all() {
        let exchange = Exchange::hold().unwrap();
        exchange.try_sender(&[]).unwrap();
        exchange.try_receiver(&[]).unwrap();
        for place in (0..exchange.said.len()).step_by(13) {
            let [low, middle, high, _] = (place as u32).to_le_bytes();
            for kind in 0..5 {
                exchange.try_sender(&[kind, 1, low, middle, high, 0xa5, 0x5a]).unwrap();
            }
        }
        for place in 0..exchange.answered.len() {
            let [low, middle, high, _] = (place as u32).to_le_bytes();
            for kind in 0..5 {
                exchange.try_receiver(&[kind, 1, low, middle, high, 0xa5, 0x5a]).unwrap();
            }
        }
    }

    #[test]
    fn something_else_in_place_of_what_was_sent_is_noticed() {
        let mut exchange = Exchange::hold().unwrap();
        std::mem::swap(&mut exchange.root, &mut exchange.base);
        assert!(exchange.try_sender(&[]).is_err());
        assert!(exchange.try_sender(&[2, 0, 100, 0, 0]).is_err());
        assert!(exchange.try_receiver(&[]).is_err());
    }
}
