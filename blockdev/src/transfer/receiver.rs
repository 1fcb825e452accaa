//! Receives a snapshot from a stream.
//!
//! A full stream becomes a new volume, one that goes on from a snapshot a hidden clone of that snapshot, which takes the
//! place of what the volume holds in the same commit that names the new snapshot. Until then nobody sees anything of it; an
//! error, a drop and a crash leave the node as it was.
//!
//! In an exchange the sender is told what this node lacks. A full one may then also go on from the newest snapshot of a volume
//! that is here, whatever that holds: what is not the same is asked for. What came stays when it is broken off, as unseen as
//! before, and is there already for the next attempt, unless it looks as if it were wrong.

use std::sync::Arc;

use lsm_store::ErrorKind;
use lsm_store::codec::Codec;
use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::Zeroing;
use lsm_store::store::{Volume, VolumeSpec};

use super::Watch;
use super::adopt::{adopt, clear};
use super::answer::{Answer, AnswerEncoder, Greeting, Wanted};
use super::decoder::StreamDecoder;
use super::error::{Result, StreamError, TransferError};
use super::format::{Base, Begin, End, Record};
use super::root::root_of;
use super::wants::Wants;
use crate::catalog::SentSnapshot;
use crate::name::{SnapshotName, VolumeName};
use crate::node::{Coming, Hidden, NamedSnapshot, Node, Replacing};
use crate::root::{PLAIN_DOMAIN, Root};

/// How to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveOptions {
    /// How blocks of a new volume are compressed that come not compressed yet, and those written later.
    pub codec: Codec,
    /// What the volume holds may be lost where it was changed since the snapshot that the stream goes on from.
    pub force: bool,
}

/// What was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The snapshot.
    pub snapshot: NamedSnapshot,
    /// Its root, which is that of the stream.
    pub root: Root,
    /// The name of the snapshot that the stream goes on from.
    pub base: Option<VolumeName>,
    /// Blocks with data that the stream brought.
    pub data_blocks: u64,
    /// Blocks that it said to be zeros.
    pub zero_blocks: u64,
    /// Blocks with data that it offered, and that were here.
    pub had_blocks: u64,
}

/// A stream on its way into a node.
pub struct Receiver {
    node: Arc<Node>,
    name: VolumeName,
    options: ReceiveOptions,
    decoder: StreamDecoder,
    target: Option<Target>,
    end: Option<End>,
    /// In an exchange, what is said to the sender.
    answering: Option<Answering>,
}

/// Where the content goes.
struct Target {
    begin: Begin,
    hidden: Hidden,
    /// The snapshot here that it goes on from.
    base: Option<VolumeName>,
}

#[derive(Default)]
struct Answering {
    encoder: AnswerEncoder,
    /// Answers that were not taken yet.
    answers: Vec<u8>,
    /// What was asked for and has not come.
    wants: Wants,
    had_blocks: u64,
}

impl Answering {
    fn say(&mut self, answer: &Answer) {
        self.encoder.encode(answer, &mut self.answers);
    }
}

impl Receiver {
    /// Receives into the volume `name`: a new one for a full stream.
    #[must_use]
    pub fn new(node: Arc<Node>, name: VolumeName, options: ReceiveOptions) -> Self {
        Self { node, name, options, decoder: StreamDecoder::default(), target: None, end: None, answering: None }
    }

    /// Receives into the volume `name` in an exchange: what the sender offers is answered by what this node lacks of it.
    pub(super) fn answering(node: Arc<Node>, name: VolumeName, options: ReceiveOptions) -> Self {
        let mut answering = Answering::default();
        answering.encoder.greet(Greeting::OURS, &mut answering.answers);
        let decoder = StreamDecoder::asking();
        Self { decoder, answering: Some(answering), ..Self::new(node, name, options) }
    }

    /// What is to be said to the sender, and was not taken before.
    pub(super) fn take_answers(&mut self) -> Vec<u8> {
        self.answering.as_mut().map(|answering| std::mem::take(&mut answering.answers)).unwrap_or_default()
    }

    /// What is to be said to the sender in the end.
    pub(super) fn last_answer(&mut self, answer: &Answer) -> Vec<u8> {
        if let Some(answering) = &mut self.answering {
            answering.say(answer);
        }
        self.take_answers()
    }

    /// True once all of the stream has come.
    pub(super) fn is_over(&self) -> bool {
        self.decoder.is_over()
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`TransferError::Stream`], [`TransferError::NoBase`], [`TransferError::OtherBase`], [`TransferError::Changed`], and those
    /// of the node. The receiver is of no further use then.
    pub fn push(&mut self, bytes: &[u8], watch: &mut Watch<'_>) -> Result<()> {
        self.decoder.push(bytes);
        while let Some(record) = self.decoder.next_record()? {
            self.take(record, watch)?;
        }
        Ok(())
    }

    /// The size in bytes of what is received, once it is known.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.target.as_ref().map(|target| target.begin.size_bytes)
    }

    /// Up to where, in bytes, content has come.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        let end = self.decoder.next_block() * BLOCK_BYTES as u64;
        self.size_bytes().map_or(0, |size| end.min(size))
    }

    fn take(&mut self, record: Record, watch: &mut Watch<'_>) -> Result<()> {
        if let Record::Begin(begin) = record {
            self.target = Some(self.open(begin, watch)?);
            return Ok(());
        }
        let volume = self.target.as_ref().expect("the first record is a beginning").hidden.volume();
        match (record, &mut self.answering) {
            (Record::Zeros { first, count }, None) => make_zero(volume, first.byte_offset(), count)?,
            (Record::Zeros { first, count }, Some(_)) => clear(volume, first, count)?,
            (Record::Offer { first, fingerprints }, Some(answering)) => {
                let wanted = adopt(volume, first, &fingerprints)?;
                answering.wants.add(first, &fingerprints, &wanted).map_err(|why| self.decoder.last_damaged(why))?;
                answering.had_blocks += wanted.iter().filter(|wanted| !**wanted).count() as u64;
                answering.say(&Answer::Wanted(Wanted { first, wanted }));
            }
            (Record::Blocks { first, blocks }, answering) => {
                if let Some(answering) = answering {
                    answering.wants.take(first, &blocks).map_err(|why| self.decoder.last_damaged(why))?;
                }
                volume.write_stored(first, &blocks)?;
            }
            (Record::End(end), answering) => {
                if answering.as_ref().is_some_and(|answering| !answering.wants.is_empty()) {
                    return Err(self.decoder.last_damaged("it comes before all that was asked for").into());
                }
                self.end = Some(end);
            }
            (Record::Begin(_) | Record::Offer { .. }, _) => {}
        }
        Ok(())
    }

    /// Makes the volume that the content goes to.
    fn open(&self, begin: Begin, watch: &mut Watch<'_>) -> Result<Target> {
        if begin.domain != PLAIN_DOMAIN {
            return Err(TransferError::UnknownDomain(begin.domain));
        }
        let base = match &begin.base {
            Some(base) => Some(base.snapshot.clone()),
            None if self.answering.is_some() => self.node.newest_snapshot(&self.name),
            None => None,
        };
        if let Some(base) = &base {
            self.node.check_replaceable(&self.replacing(&begin, base))?;
            self.prove(base, &begin, watch)?;
        }
        let hidden = match self.answering {
            Some(_) => self.open_kept(base.as_ref(), &begin)?,
            None => self.open_passing(base.as_ref(), &begin)?,
        };
        Ok(Target { begin, hidden, base })
    }

    /// That the snapshot that the stream goes on from holds here what it holds at the sender.
    fn prove(&self, base: &VolumeName, begin: &Begin, watch: &mut Watch<'_>) -> Result<()> {
        let Some(Base { root: expected, .. }) = begin.base else { return Ok(()) };
        let name = SnapshotName { volume: self.name.clone(), snapshot: base.clone() };
        let found = self.node.root(&name.clone().into(), watch)?.root;
        if found == expected { Ok(()) } else { Err(TransferError::OtherBase { name, expected, found }) }
    }

    /// A new volume or a clone that goes when it is broken off.
    fn open_passing(&self, base: Option<&VolumeName>, begin: &Begin) -> Result<Hidden> {
        let Some(base) = base else { return Ok(Hidden::Import(self.node.import(&self.name, self.spec(begin))?)) };
        let name = SnapshotName { volume: self.name.clone(), snapshot: base.clone() };
        let import = self.node.hidden_clone(&name.into(), "receive")?;
        if import.volume().size_bytes() != begin.size_bytes {
            self.node.store().resize_volume(import.volume().id(), begin.size_bytes)?;
        }
        Ok(Hidden::Import(import))
    }

    /// One that stays then, or what stayed of one.
    fn open_kept(&self, base: Option<&VolumeName>, begin: &Begin) -> Result<Hidden> {
        let sent = SentSnapshot { store: begin.store, id: begin.id };
        let is_full = begin.base.is_none();
        let coming = Coming { name: &self.name, base, spec: self.spec(begin), sent, is_full };
        Ok(Hidden::Reception(self.node.receive_resumably(&coming)?))
    }

    fn spec(&self, begin: &Begin) -> VolumeSpec {
        VolumeSpec { size_bytes: begin.size_bytes, codec: self.options.codec }
    }

    fn replacing<'a>(&'a self, begin: &'a Begin, base: &'a VolumeName) -> Replacing<'a> {
        Replacing { volume: &self.name, base, snapshot: &begin.snapshot, force: self.options.force }
    }

    /// Proves that all has come, and gives it its name.
    ///
    /// # Errors
    /// [`TransferError::Stream`] if the stream has not come to its end, [`TransferError::OtherRoot`],
    /// [`TransferError::Changed`], and those of the node. Nothing was received then.
    pub fn finish(mut self, watch: &mut Watch<'_>) -> Result<Received> {
        self.name_it(watch)
    }

    /// As [`Receiver::finish`]. The receiver can say its last then, and is of no further use.
    pub(super) fn name_it(&mut self, watch: &mut Watch<'_>) -> Result<Received> {
        self.decoder.finish()?;
        let Target { begin, hidden, base } = self.target.as_mut().expect("a whole stream has a beginning");
        let end = self.end.expect("a whole stream has an end");
        let expected = Root { domain: begin.domain, digest: end.root };
        let found = root_of(hidden.volume(), watch)?.root;
        if found != expected {
            return Err(TransferError::OtherRoot { expected, found });
        }
        let force = self.options.force;
        let snapshot = match base {
            None => self.node.declare_ready_with(&self.name, hidden, &begin.snapshot)?,
            Some(base) => {
                let replacing = Replacing { volume: &self.name, base, snapshot: &begin.snapshot, force };
                self.node.replace(&replacing, hidden)?
            }
        };
        let base = self.target.take().and_then(|target| target.base);
        let End { data_blocks, zero_blocks, .. } = end;
        let had_blocks = self.answering.as_ref().map_or(0, |answering| answering.had_blocks);
        Ok(Received { snapshot, root: found, base, data_blocks, zero_blocks, had_blocks })
    }

    /// Ends an exchange that failed: what came stays for the next attempt, unless that could fail for the same reason.
    pub(super) fn break_off(&mut self, error: &TransferError) {
        if let Some(Target { hidden: Hidden::Reception(reception), .. }) = self.target.take() {
            match is_bad(error) {
                true => reception.remove(),
                false => reception.keep(),
            }
        }
    }
}

/// True if what came may be something else than what was sent, or takes room that is not there.
fn is_bad(error: &TransferError) -> bool {
    match error {
        TransferError::Stream(StreamError::Truncated { .. }) => false,
        error => matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::OutOfSpace),
    }
}

/// Makes blocks a hole; the volume's end may cut the last one.
pub(crate) fn make_zero(volume: &Volume, offset: u64, count: u64) -> Result<()> {
    let len = (count * BLOCK_BYTES as u64).min(volume.size_bytes() - offset);
    Ok(volume.zero(offset, len, Zeroing::Hole)?)
}
