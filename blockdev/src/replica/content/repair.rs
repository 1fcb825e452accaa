//! Damage repaired from another node: blocks whose content cannot be read any more, by the fingerprints that the map still
//! has.
//!
//! Any node that has a block lends it, whatever volume it is of there. It is proved by its fingerprint, and written only
//! where the volume has not got other content meanwhile.

use std::collections::HashMap;
use std::ops::Range;

use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::BlockIndex;
use lsm_store::request::BlockIdentity;
use lsm_store::store::{Store, StoredBlock, Volume};
use lsm_store::{Error, ErrorKind};
use net::content::{Answer, BLOCKS_MAX, Lend, Lent, Refusal};
use net::envelope::Message;
use net::transport::RequestError;

use super::Asking;
use super::form::{form_of, stored_of};

/// What became of damaged blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repaired {
    /// They have their content again, somewhere else. [`Volume::flush`] makes that durable.
    pub blocks_restored: u64,
    /// They hold something else by now.
    pub blocks_changed: u64,
    /// Nothing was found for them: the other node has no such block, or nobody knows their fingerprint.
    pub blocks_missing: u64,
}

/// Why a repair ended early. What was restored before stays.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// This node's store failed.
    #[error("what is damaged cannot be replaced")]
    Store(#[from] Error),
    /// The other node does not answer: ask another.
    #[error("the lender does not answer")]
    Ask(#[from] RequestError),
    /// Its answer is none to the question.
    #[error("the lender's answer makes no sense")]
    Senseless,
}

/// Answers a [`Lend`] with what `store` has of it. Blocks that are only in memory cannot be found by what they hold: if any is
/// lacking, the store begins to write them to where they can, and whoever asks again may get them.
#[must_use]
pub fn lend(store: &Store, question: &Message) -> Message {
    let Ok(Lend { fingerprints }) = Lend::decode(question) else {
        return Answer::Refused(Refusal::Senseless).encode();
    };
    let fingerprints: Vec<_> = fingerprints.into_iter().map(Fingerprint).collect();
    let found = store.stored_by_fingerprint(&fingerprints);
    if found.iter().any(Option::is_none)
        && let Err(error) = store.freeze()
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "what is in memory cannot be lent");
    }
    Lent { blocks: found.into_iter().flatten().map(form_of).collect() }.encode()
}

/// Gives damaged blocks of a volume, as a scrub or a failed read has named them, what another node lends.
///
/// # Errors
/// See [`RepairError`].
pub fn repair(volume: &Volume, damaged: Range<BlockIndex>, asking: &dyn Asking) -> Result<Repaired, RepairError> {
    let mut repaired = Repaired::default();
    for start in (damaged.start.0..damaged.end.0).step_by(BLOCKS_MAX) {
        let blocks = start..damaged.end.0.min(start + BLOCKS_MAX as u64);
        let known = known(volume, blocks, &mut repaired)?;
        if known.is_empty() {
            continue;
        }
        let lent = borrow(&known, asking)?;
        for (block, fingerprint) in known {
            let restored = lent.get(&fingerprint).map(|stored| volume.restore(block, stored));
            match restored {
                Some(Ok(true)) => repaired.blocks_restored += 1,
                Some(Ok(false)) => repaired.blocks_changed += 1,
                None | Some(Err(Error::ForeignBlock { .. })) => repaired.blocks_missing += 1,
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
    Ok(repaired)
}

/// The fingerprints of those that have one. Of a last block that the volume's end cuts nobody knows it without reading it.
fn known(
    volume: &Volume,
    blocks: Range<u64>,
    repaired: &mut Repaired,
) -> Result<Vec<(BlockIndex, Fingerprint)>, Error> {
    let mut known = Vec::new();
    for block in blocks.map(BlockIndex) {
        match volume.fingerprints(block, 1, 1) {
            Ok(entries) => known.extend(entries.iter().filter_map(|entry| match entry {
                BlockIdentity::Data(fingerprint) => Some((block, *fingerprint)),
                BlockIdentity::Zeros(_) => None,
            })),
            Err(error) if error.kind() == ErrorKind::Corrupt => repaired.blocks_missing += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

fn borrow(
    known: &[(BlockIndex, Fingerprint)],
    asking: &dyn Asking,
) -> Result<HashMap<Fingerprint, StoredBlock>, RepairError> {
    let fingerprints = known.iter().map(|(_, fingerprint)| fingerprint.0).collect();
    let answer = asking.ask(Lend { fingerprints }.encode())?;
    let Lent { blocks } = Lent::decode(&answer).map_err(|_| RepairError::Senseless)?;
    Ok(blocks.into_iter().filter_map(stored_of).map(|stored| (stored.fingerprint, stored)).collect())
}
