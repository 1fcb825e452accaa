//! A client for the fuzz targets: says what it is told to a server of one small export in memory, well-formed or not, and
//! listens until the server hangs up.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use blockdev::frontend::memory::{MemoryExport, MemoryExports};
use blockdev::frontend::nbd::handshake::{Context, Demand, Description, Handshake};
use blockdev::frontend::nbd::{Limits, Server};
use lsm_store::clock::SystemClock;

/// Size of the export in bytes.
pub const EXPORT_BYTES: u64 = 1 << 20;

/// Replies of more bytes than this are not waited for.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// A server to talk to.
pub struct Victim {
    server: Server,
}

impl Victim {
    /// A server of one export, called `vol`.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn start() -> io::Result<Self> {
        let exports = MemoryExports::single("vol", MemoryExport::new(EXPORT_BYTES));
        let server = Server::new(exports, Arc::new(SystemClock::new()), Limits::default())?;
        Ok(Self { server })
    }

    /// Says `bytes`, says no more, and listens to the end.
    ///
    /// # Errors
    /// If the server cannot be reached at all.
    pub fn say(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (mut ours, theirs) = UnixStream::pair()?;
        self.server.adopt(theirs.into())?;
        let listening = ours.try_clone()?;
        std::thread::scope(|scope| {
            let listener = scope.spawn(move || {
                let mut heard = Vec::new();
                // A server that hangs up on nonsense is right.
                drop((&listening).take(REPLY_BYTES_MAX).read_to_end(&mut heard));
                drop(listening.shutdown(Shutdown::Both));
                heard
            });
            drop(ours.write_all(bytes).and_then(|()| ours.shutdown(Shutdown::Write)));
            listener.join().map_err(|_| io::Error::other("the listener panicked"))
        })
    }
}

/// A handshake as clients do it: structured replies, block status, and GO for the export.
#[must_use]
pub fn handshake() -> Vec<u8> {
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    let name = b"vol";
    let context = b"base:allocation";
    option(&mut bytes, 3, &[]);
    option(&mut bytes, 8, &[]);
    let contexts = [&3_u32.to_be_bytes()[..], name, &1_u32.to_be_bytes(), &15_u32.to_be_bytes(), context].concat();
    option(&mut bytes, 9, &contexts);
    option(&mut bytes, 10, &contexts);
    option(&mut bytes, 6, &[&3_u32.to_be_bytes()[..], name, &1_u16.to_be_bytes(), &3_u16.to_be_bytes()].concat());
    option(&mut bytes, 7, &[&3_u32.to_be_bytes()[..], name, &0_u16.to_be_bytes()].concat());
    bytes
}

fn option(bytes: &mut Vec<u8>, code: u32, data: &[u8]) {
    bytes.extend_from_slice(b"IHAVEOPT");
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
    bytes.extend_from_slice(data);
}

/// Hands `bytes` to a handshake that requires TLS, `step` at a time: in clear up to STARTTLS, from there as if TLS had carried
/// them. Returns whether it came so far.
///
/// # Panics
/// If anything is served in clear, or something said in clear is left over for TLS.
pub fn negotiate_tls(bytes: &[u8], step: usize) -> bool {
    let mut handshake = Handshake::requiring_tls();
    let mut secure = false;
    let (mut fed, mut used) = (0, 0);
    loop {
        let Ok((taken, demand)) = handshake.handle_input(&bytes[used..fed]) else { return secure };
        used += taken;
        match demand {
            Demand::Input(_) if taken > 0 => {}
            Demand::Input(_) if fed == bytes.len() => return secure,
            Demand::Input(_) => fed = bytes.len().min(fed + step.max(1)),
            Demand::Close => return secure,
            Demand::Tls => {
                assert_eq!(used, fed, "what came in clear is left over for TLS");
                assert!(!secure, "TLS begins once");
                handshake.give_tls();
                secure = true;
            }
            served => {
                assert!(secure, "{served:?} in clear");
                if serve(&mut handshake, &served) {
                    return secure;
                }
            }
        }
    }
}

/// Answers as a server of one export does; true once transmission begins, or cannot.
fn serve(handshake: &mut Handshake, demand: &Demand) -> bool {
    match demand {
        Demand::Names => handshake.give_names(Ok(&["vol".to_owned()])),
        Demand::Contexts(_) => handshake.give_contexts(&[Context::Allocation]),
        _ => {
            let description = Description { size_bytes: EXPORT_BYTES, read_only: false };
            return handshake.give_export(Ok(description)).map_or(true, |agreement| agreement.is_some());
        }
    }
    false
}

/// A handshake as clients do it where TLS is required: STARTTLS first, then as [`handshake`].
#[must_use]
pub fn handshake_under_tls() -> Vec<u8> {
    let plain = handshake();
    let mut bytes = plain[..4].to_vec();
    option(&mut bytes, 3, &[]);
    option(&mut bytes, 5, &[]);
    bytes.extend_from_slice(&plain[4..]);
    bytes
}

/// Requests from a script, eight bytes each: most of them make sense, some are out of every bound.
#[must_use]
pub fn requests(script: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (cookie, step) in script.chunks_exact(8).enumerate().take(64) {
        let [command, flags, a, b, c, d, e, odd] = *step else { break };
        let (offset, len) = match odd {
            0 => (u64::MAX - u64::from(a), u32::from(b)),
            1 => (u64::from(a), u32::MAX - u32::from(b)),
            2 => (EXPORT_BYTES - u64::from(a), u32::from(b)),
            _ => (u64::from_le_bytes([a, b, c % 16, 0, 0, 0, 0, 0]), u32::from_le_bytes([d, e, 0, 0])),
        };
        bytes.extend_from_slice(&0x2560_9513_u32.to_be_bytes());
        bytes.extend_from_slice(&u16::from(flags % 64).to_be_bytes());
        bytes.extend_from_slice(&u16::from(command % 10).to_be_bytes());
        bytes.extend_from_slice(&(cookie as u64).to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
        if command % 10 == 1 {
            bytes.extend(std::iter::repeat_n(flags, len.min(1 << 17) as usize));
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
