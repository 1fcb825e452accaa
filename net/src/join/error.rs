//! What can go wrong while joining.

use crate::identity;
use crate::transport::Down;

/// Why a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not start as a token does.
    #[error("a join token starts with silt1-")]
    Prefix,
    /// It was written by a newer program.
    #[error("this join token is of a newer kind: use the cluster's version of silt")]
    Version,
    /// A letter is missing, wrong or one too many.
    #[error("this join token is mistyped or cut off: copy all of it")]
    Mistyped,
}

/// Why a node is not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No such token, or its secret is not known.
    #[error("the join token is not valid: get a new one with silt cluster token")]
    Unknown,
    /// Its time is over.
    #[error("the join token has expired: get a new one with silt cluster token")]
    Expired,
    /// Another node used it.
    #[error("the join token was used by another node: get a new one with silt cluster token")]
    Used,
    /// The cluster cannot admit anybody now.
    #[error("the cluster cannot admit a node now: try again")]
    Unavailable,
}

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The cluster said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// None of the token's addresses could be reached.
    #[error("no node of the cluster could be reached")]
    Unreachable(#[source] Down),
    /// A node answered that has another authority than the token was made with.
    #[error(
        "the node at {0} does not have the authority that the join token was made with: the cluster has another since, or it is \
         another cluster: get a new one with silt cluster token"
    )]
    OtherAuthority(std::net::SocketAddr),
    /// The token names no address.
    #[error("the join token names no address")]
    NoAddress,
    /// The answer does not hold.
    #[error("the cluster's answer does not hold")]
    Answer(#[source] identity::Error),
    /// The thread or socket could not be had.
    #[error("the network cannot be used")]
    Io(#[from] std::io::Error),
    /// This side's TLS.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}
