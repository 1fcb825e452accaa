//! Removes large files a piece at a time.
//!
//! Some file systems tell the device what a removed file had (ext4 mounted with `discard`), and while a device takes note of
//! that it answers nobody: for 10 ms, if it is 32 MiB. Pieces keep reads that come meanwhile from waiting for all of it.

use std::io;

use super::{Access, Device};

/// What is cut off at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Removes a file that nobody has open any more, and calls `between` after each piece but the last.
///
/// # Errors
/// As [`Device::remove`]; the file may be shorter then.
pub(crate) fn remove_in_pieces(device: &dyn Device, path: &str, between: impl FnMut()) -> io::Result<()> {
    // What cannot be shortened can still be removed, or says why not.
    let _ = shorten(device, path, between);
    device.remove(path)
}

fn shorten(device: &dyn Device, path: &str, mut between: impl FnMut()) -> io::Result<()> {
    let file = device.open(path, Access::Buffered)?;
    let pieces = file.len()?.div_ceil(PIECE_BYTES);
    for left in (1..pieces).rev() {
        file.set_len(left * PIECE_BYTES)?;
        between();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device::TestDevice;

    #[test]
    fn a_large_file_goes_piece_by_piece() {
        let device = TestDevice::default();
        let file = device.create("large", Access::Buffered).unwrap();
        file.set_len(3 * PIECE_BYTES + 1).unwrap();
        let mut lens = Vec::new();
        remove_in_pieces(&device, "large", || lens.push(file.len().unwrap() / PIECE_BYTES)).unwrap();
        assert_eq!(lens, [3, 2, 1]);
        assert!(device.open("large", Access::Buffered).is_err());
        assert_eq!(remove_in_pieces(&device, "large", || ()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
