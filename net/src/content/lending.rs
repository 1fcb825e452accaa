//! Blocks that one node lends another, whose own are damaged.

use rkyv::{Archive, Deserialize, Serialize};

use super::question::StoredFormV1;
use super::{BLOCKS_MAX, LEND, LENT, StoredForm};
use crate::envelope::{Error, Message, decode_body, encode_body};

#[derive(Archive, Serialize, Deserialize)]
struct LendV1 {
    fingerprints: Vec<[u8; 32]>,
}

#[derive(Archive, Serialize, Deserialize)]
struct LentV1 {
    blocks: Vec<StoredFormV1>,
}

/// Asks for blocks with these fingerprints, of whatever volume.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lend {
    /// At most [`BLOCKS_MAX`].
    pub fingerprints: Vec<[u8; 32]>,
}

/// Those that were found, in any order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lent {
    /// At most [`BLOCKS_MAX`].
    pub blocks: Vec<StoredForm>,
}

impl Lend {
    /// The message.
    #[must_use]
    pub fn encode(self) -> Message {
        Message::new(LEND, encode_body(&LendV1 { fingerprints: self.fingerprints }))
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Error::Misplaced`] if it is another question, [`Error::Body`] if it is not within its bounds.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != LEND {
            return Err(Error::Misplaced(message.kind.0));
        }
        let LendV1 { fingerprints } = decode_body(&message.body)?;
        if fingerprints.len() > BLOCKS_MAX { Err(Error::Body) } else { Ok(Self { fingerprints }) }
    }
}

impl Lent {
    /// The message.
    #[must_use]
    pub fn encode(self) -> Message {
        let blocks = self.blocks.into_iter().map(StoredFormV1::from).collect();
        Message::new(LENT, encode_body(&LentV1 { blocks }))
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Error::Misplaced`] if it is another answer, [`Error::Body`] if it is not within its bounds.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != LENT {
            return Err(Error::Misplaced(message.kind.0));
        }
        let LentV1 { blocks } = decode_body(&message.body)?;
        if blocks.len() > BLOCKS_MAX {
            return Err(Error::Body);
        }
        let blocks = blocks.into_iter().map(StoredForm::try_from).collect::<Result<_, _>>()?;
        Ok(Self { blocks })
    }
}
