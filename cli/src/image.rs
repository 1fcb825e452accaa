//! Raw images outside the store: what an import reads and an export writes.

pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod zeros;
