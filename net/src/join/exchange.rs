//! The two messages of joining, and the proof. These types never change: a new way to join is a new protocol name.

use std::net::SocketAddr;

use super::error::Refusal;
use super::token::{TokenId, TokenKey};
use crate::envelope::{Error, Kind, Message, decode_body, encode_body};
use crate::identity::{self, ClusterId, Issued, NodeId, NodeKey, PublicKey};
use crate::transport::Peer;

/// Separates what a joining node signs from everything else a node's key signs.
const SIGNED_PREFIX: &[u8] = b"siltstone join\0";

/// Most addresses of a node.
const ADDRESSES_MAX: usize = 8;

/// Most members in an answer.
const MEMBERS_MAX: usize = 64;

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct RequestV0 {
    token: [u8; 8],
    public_key: [u8; 32],
    proof: [u8; 32],
    signature: Vec<u8>,
    addresses: Vec<String>,
    program: String,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct AnswerV0 {
    /// 0 if admitted; the rest is empty if not.
    refusal: u8,
    cluster: [u8; 16],
    node: u64,
    certificate: Vec<u8>,
    authority: Vec<u8>,
    members: Vec<MemberV0>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct MemberV0 {
    node: u64,
    addresses: Vec<String>,
}

/// 32 bytes that only the two ends of one TLS session know.
pub(crate) type Binding = [u8; 32];

/// A new node's question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest {
    /// The token it has.
    pub token: TokenId,
    /// Its key.
    pub key: PublicKey,
    /// Shows that it knows the token's secret.
    pub proof: [u8; 32],
    /// Shows that it has the private half of its key.
    pub signature: Vec<u8>,
    /// Where it listens, so that the others can reach it: at most 8.
    pub addresses: Vec<SocketAddr>,
    /// Its name and version, for the log.
    pub program: String,
}

/// What a node that joined gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Its certificate.
    pub issued: Issued,
    /// The nodes of the cluster.
    pub members: Vec<Peer>,
}

/// The answer.
pub(crate) type JoinAnswer = Result<Joined, Refusal>;

/// Shows that whoever made it knows the token's secret, in this session, for this key.
fn proof(token: &TokenKey, binding: &Binding, key: PublicKey) -> blake3::Hash {
    blake3::keyed_hash(token.bytes(), &[*binding, key.0].concat())
}

impl JoinRequest {
    /// The request of the node with `key`.
    pub(crate) fn new(
        (token, token_key): (TokenId, &TokenKey),
        key: &NodeKey,
        binding: &Binding,
        (addresses, program): (&[SocketAddr], String),
    ) -> Result<Self, identity::Error> {
        let proof = *proof(token_key, binding, key.public()).as_bytes();
        let signature = key.sign(&[SIGNED_PREFIX, binding].concat())?;
        let addresses = addresses.iter().copied().take(ADDRESSES_MAX).collect();
        Ok(Self { token, key: key.public(), proof, signature, addresses, program })
    }

    /// True if the asker knows the secret behind `token`; compares in constant time.
    pub(crate) fn knows(&self, token: &TokenKey, binding: &Binding) -> bool {
        proof(token, binding, self.key) == self.proof
    }

    /// True if the asker has the private half of the key.
    pub(crate) fn has_key(&self, binding: &Binding) -> bool {
        self.key.verifies(&[SIGNED_PREFIX, binding].concat(), &self.signature)
    }

    /// The message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let body = RequestV0 {
            token: self.token.0,
            public_key: self.key.0,
            proof: self.proof,
            signature: self.signature.clone(),
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
            program: self.program.clone(),
        };
        Message::new(Kind::JOIN_REQUEST, encode_body(&body))
    }

    /// Reads the message; [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != Kind::JOIN_REQUEST {
            return Err(Error::Misplaced(message.kind.0));
        }
        let RequestV0 { token, public_key, proof, signature, addresses, program } = decode_body(&message.body)?;
        if addresses.len() > ADDRESSES_MAX {
            return Err(Error::Body);
        }
        let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>();
        let addresses = addresses.map_err(|_| Error::Body)?;
        Ok(Self { token: TokenId(token), key: PublicKey(public_key), proof, signature, addresses, program })
    }
}

/// The message of an answer. Members beyond 64 are left out: the new node learns of them from the others.
pub(crate) fn encode_answer(answer: &JoinAnswer) -> Message {
    let mut body = AnswerV0 {
        refusal: 0,
        cluster: [0; 16],
        node: 0,
        certificate: Vec::new(),
        authority: Vec::new(),
        members: Vec::new(),
    };
    match answer {
        Err(refusal) => body.refusal = refusal_number(*refusal),
        Ok(Joined { issued, members }) => {
            body.cluster = issued.cluster.0;
            body.node = issued.node.0;
            body.certificate = issued.certificate.clone();
            body.authority = issued.authority.clone();
            body.members = members.iter().take(MEMBERS_MAX).map(member).collect();
        }
    }
    Message::new(Kind::JOIN_ANSWER, encode_body(&body))
}

fn member(peer: &Peer) -> MemberV0 {
    MemberV0 {
        node: peer.node.0,
        addresses: peer.addresses.iter().take(ADDRESSES_MAX).map(ToString::to_string).collect(),
    }
}

/// Reads an answer.
///
/// # Errors
/// As [`crate::envelope::decode_body`], or [`Error::Misplaced`].
pub fn decode_answer(message: &Message) -> Result<Result<Joined, Refusal>, Error> {
    if message.kind != Kind::JOIN_ANSWER {
        return Err(Error::Misplaced(message.kind.0));
    }
    let body: AnswerV0 = decode_body(&message.body)?;
    if body.refusal != 0 {
        return Ok(Err(refusal(body.refusal)));
    }
    let issued = Issued {
        cluster: ClusterId(body.cluster),
        node: NodeId(body.node),
        certificate: body.certificate,
        authority: body.authority,
    };
    let members: Result<Vec<_>, Error> = body.members.iter().map(peer).collect();
    Ok(Ok(Joined { issued, members: members? }))
}

fn peer(member: &MemberV0) -> Result<Peer, Error> {
    let addresses: Result<_, _> = member.addresses.iter().map(|address| address.parse()).collect();
    Ok(Peer { node: NodeId(member.node), addresses: addresses.map_err(|_| Error::Body)? })
}

fn refusal_number(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::Unknown => 1,
        Refusal::Expired => 2,
        Refusal::Used => 3,
        Refusal::Unavailable => 4,
    }
}

/// Numbers of later programs read as "not now".
fn refusal(number: u8) -> Refusal {
    match number {
        1 => Refusal::Unknown,
        2 => Refusal::Expired,
        3 => Refusal::Used,
        _ => Refusal::Unavailable,
    }
}
