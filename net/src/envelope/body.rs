//! Bodies: `rkyv` archives, of one frozen type for each kind and version.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use super::error::Error;

/// The body of `value`.
///
/// # Panics
/// Never for the plain types that bodies are made of: writing an archive to memory does not fail.
pub fn encode_body<T>(value: &T) -> Vec<u8>
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>,
{
    rkyv::to_bytes::<rancor::Error>(value).expect("messages in memory have a wire form").into_vec()
}

/// An archive of a `T` that can be checked and read.
pub trait Checked<T>:
    for<'a> CheckBytes<HighValidator<'a, rancor::Error>> + Deserialize<T, HighDeserializer<rancor::Error>>
{
}

impl<T, A> Checked<T> for A where
    A: for<'a> CheckBytes<HighValidator<'a, rancor::Error>> + Deserialize<T, HighDeserializer<rancor::Error>>
{
}

/// Reads a body whose checksum was found right.
///
/// # Errors
/// [`Error::Body`] if it is no archive of a `T`.
pub fn decode_body<T>(body: &[u8]) -> Result<T, Error>
where
    T: Archive,
    T::Archived: Checked<T>,
{
    rkyv::from_bytes::<T, rancor::Error>(body).map_err(|_| Error::Body)
}
