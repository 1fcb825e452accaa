//! Codes with which a connection is closed, and what they mean at the other end.

use quinn::{Connection, ConnectionError, VarInt};

use crate::transport::Down;

pub(super) const STOP: VarInt = VarInt::from_u32(0);
pub(super) const PROTOCOL: VarInt = VarInt::from_u32(1);
pub(super) const VERSION: VarInt = VarInt::from_u32(2);
pub(super) const NOT_ALLOWED: VarInt = VarInt::from_u32(3);
pub(super) const SUPERSEDED: VarInt = VarInt::from_u32(4);

/// TLS alerts are transport errors 0x100 to 0x1ff (RFC 9001, section 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// The code that tells the peer why.
fn code(reason: &Down) -> VarInt {
    match reason {
        Down::Envelope(_) | Down::Protocol(_) => PROTOCOL,
        Down::Version(_) => VERSION,
        Down::Removed | Down::Identity(_) => NOT_ALLOWED,
        Down::Superseded => SUPERSEDED,
        _ => STOP,
    }
}

/// Closes a connection and tells the peer why.
pub(super) fn close(connection: &Connection, reason: &Down) {
    let text = match reason {
        Down::Version(text) => text.clone(),
        other => other.to_string(),
    };
    connection.close(code(reason), text.as_bytes());
}

/// TLS's alert for a certificate of an authority that this side does not know (RFC 8446, section 6.2).
const UNKNOWN_AUTHORITY: u64 = 0x100 + 48;

/// True if this side does not know the authority that the other end showed.
pub(super) fn is_unknown_authority(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TransportError(error) if u64::from(error.code) == UNKNOWN_AUTHORITY)
}

/// Why a connection ended.
pub(super) fn reason(error: ConnectionError) -> Down {
    match error {
        ConnectionError::TimedOut => Down::Silent,
        ConnectionError::Reset => Down::Restarted,
        ConnectionError::LocallyClosed => Down::Asked,
        ConnectionError::ApplicationClosed(closed) => {
            let text = || String::from_utf8_lossy(&closed.reason).into_owned();
            match closed.error_code {
                PROTOCOL => Down::Accused(text()),
                VERSION => Down::Version(text()),
                NOT_ALLOWED => Down::NotAllowed,
                SUPERSEDED => Down::Superseded,
                _ => Down::Stopped,
            }
        }
        ConnectionError::TransportError(error) if TLS_ALERTS.contains(&u64::from(error.code)) => {
            Down::Identity(error.to_string())
        }
        ConnectionError::ConnectionClosed(closed) if TLS_ALERTS.contains(&u64::from(closed.error_code)) => {
            Down::Identity(closed.to_string())
        }
        other => Down::Failed(other.to_string()),
    }
}
