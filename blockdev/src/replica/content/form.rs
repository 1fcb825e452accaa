//! Blocks in the form in which they are stored, and in that in which they travel.

use lsm_store::codec::Encoding;
use lsm_store::fingerprint::Fingerprint;
use lsm_store::store::StoredBlock;
use net::content::StoredForm;

/// As it travels.
pub(super) fn form_of(StoredBlock { fingerprint, encoding, bytes }: StoredBlock) -> StoredForm {
    StoredForm { fingerprint: fingerprint.0, encoding: encoding as u8, bytes }
}

/// As it is stored; `None` if this program knows no such encoding. Nothing of it is proved.
pub(super) fn stored_of(StoredForm { fingerprint, encoding, bytes }: StoredForm) -> Option<StoredBlock> {
    Some(StoredBlock { fingerprint: Fingerprint(fingerprint), encoding: Encoding::from_byte(encoding)?, bytes })
}
