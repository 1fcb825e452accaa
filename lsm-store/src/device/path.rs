//! Paths of a device: `directory/name` or `name`, nothing else.

use std::io;

/// The file at the top that carries the device's lock; not a file of the store.
pub(super) const LOCK_NAME: &str = "lock";

/// Splits a file's path into its directory (`""` is the top) and its name.
pub(super) fn split(path: &str) -> io::Result<(&str, &str)> {
    let (directory, name) = path.split_once('/').unwrap_or(("", path));
    let plain = is_plain(name) && (is_plain(directory) || !path.contains('/'));
    if plain && path != LOCK_NAME { Ok((directory, name)) } else { Err(invalid()) }
}

/// Checks the path of a directory below the top.
pub(super) fn check_directory(path: &str) -> io::Result<()> {
    if is_plain(path) && path != LOCK_NAME { Ok(()) } else { Err(invalid()) }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a path is `name` or `directory/name`")
}
