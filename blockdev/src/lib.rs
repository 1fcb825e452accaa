//! Volumes, and the frontends that serve them as block devices.

pub mod attach;
pub mod export;
pub mod frontend;
