//! Tokens and proofs.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Refusal, TokenError};
use super::exchange::encode_answer;
use super::{
    Admission, Applicant, JoinRequest, Joined, MemoryTokens, Token, TokenKey, TokenStore, base32, decode_answer,
};
use crate::envelope::{Error, Kind, Message};
use crate::environment::{Clock, Rng, SystemClock, SystemRng};
use crate::identity::{Authority, ClusterId, Fingerprint, Issued, MemoryFolder, NodeId, NodeKey, PublicKey};
use crate::transport::Peer;

struct Counting;

impl Rng for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        (1..).zip(bytes).for_each(|(number, byte)| *byte = number);
    }
}

fn token() -> Token {
    let addresses = ["192.0.2.7:10810".parse().unwrap(), "[2001:db8::7]:10810".parse().unwrap()];
    Token::draw(Fingerprint([9; 32]), &addresses, &Counting)
}

const GOLDEN: &str = "silt1-041061050r3gg0820c20a1g7104gm2rc1m70y409144gj289144gj289144gj289144gj289144gj289144gj28914109g00083kmag6400gve0000000000000000000wx2mxfvdr9g";

#[test]
fn golden_token() {
    assert_eq!(token().to_string(), GOLDEN);
    assert_eq!(GOLDEN.parse(), Ok(token()));
    assert_eq!(
        GOLDEN.to_ascii_uppercase().replace('0', "O").replace('1', "l").parse::<Token>(),
        Err(TokenError::Prefix)
    );
    let (_, digits) = GOLDEN.split_once('-').unwrap();
    let spoken = format!(" SILT1-{}\n", digits.to_ascii_uppercase().replace('0', "O").replace('1', "l"));
    assert_eq!(spoken.parse(), Ok(token()));
    let key = token().key();
    assert_eq!(
        key.bytes()[..4],
        blake3::derive_key("siltstone 2026-11-26 join token", &std::array::from_fn::<u8, 16, _>(|i| i as u8 + 1))[..4]
    );
    assert!(!format!("{:?}{key:?}", token()).contains(&digits[13..40]));
}

#[test]
fn a_mistyped_token_is_noticed() {
    for position in "silt1-".len()..GOLDEN.len() {
        let mut wrong = GOLDEN.as_bytes().to_vec();
        wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_eq!(wrong.parse::<Token>(), Err(TokenError::Mistyped), "{wrong}");
        assert_eq!(GOLDEN[..position].parse::<Token>(), Err(TokenError::Mistyped));
    }
    assert_eq!(format!("{GOLDEN}0").parse::<Token>(), Err(TokenError::Mistyped));
    assert_eq!(GOLDEN.replace("silt1", "silt2").parse::<Token>(), Err(TokenError::Version));
    assert_eq!("hello".parse::<Token>(), Err(TokenError::Prefix));
    assert_eq!("gravel-1".parse::<Token>(), Err(TokenError::Prefix));
    assert_eq!(format!("silt1-{}", "0".repeat(10_000)).parse::<Token>(), Err(TokenError::Mistyped));
}

#[test]
fn base32_of_all_lengths_comes_back() {
    let bytes: Vec<u8> = (0..=255).rev().collect();
    for len in 0..bytes.len() {
        let text = base32::encode(&bytes[..len]);
        assert_eq!(base32::decode(&text).as_deref(), Some(&bytes[..len]));
    }
    // A bit that belongs to no byte, and a letter that is no digit.
    assert_eq!(base32::decode("01"), None);
    assert_eq!(base32::decode("u0"), None);
}

/// A cluster that knows [`token`].
fn admission() -> (Admission, Arc<MemoryTokens>) {
    let authority = Authority::create(&MemoryFolder::default(), &SystemRng).unwrap();
    let tokens = Arc::new(MemoryTokens::new(NodeId(4), Vec::new));
    let now = SystemClock.wall();
    tokens.add(token().id(), token().key(), now + Duration::from_secs(60), now);
    let store: Arc<dyn TokenStore> = tokens.clone();
    (Admission::new(authority, store, Arc::new(SystemClock), Arc::new(SystemRng)), tokens)
}

fn request(token_key: &TokenKey, key: &NodeKey, binding: [u8; 32]) -> JoinRequest {
    JoinRequest::new((token().id(), token_key), key, &binding, (&[], "test".to_owned())).unwrap()
}

#[test]
fn a_proof_holds_for_its_session_and_key_only() {
    let (admission, _) = admission();
    let (key, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let here = request(&token().key(), &key, [1; 32]);
    assert_eq!(admission.decide(&here, &[2; 32]), Err(Refusal::Unknown), "relayed");
    let stolen = JoinRequest { key: other.public(), ..here.clone() };
    assert_eq!(admission.decide(&stolen, &[1; 32]), Err(Refusal::Unknown), "for another key");
    let unsigned = JoinRequest { signature: request(&token().key(), &other, [1; 32]).signature, ..here.clone() };
    assert_eq!(admission.decide(&unsigned, &[1; 32]), Err(Refusal::Unknown), "for a key the asker does not have");
    assert_eq!(admission.decide(&here, &[1; 32]).unwrap().issued.node, NodeId(5));
    let again = request(&token().key(), &key, [3; 32]);
    assert_eq!(admission.decide(&again, &[3; 32]).unwrap().issued.node, NodeId(5));
    let another = request(&token().key(), &other, [4; 32]);
    assert_eq!(admission.decide(&another, &[4; 32]), Err(Refusal::Used));
}

#[test]
fn a_secret_can_be_guessed_at_eight_times() {
    let (admission, _) = admission();
    let key = NodeKey::generate().unwrap();
    let wrong = request(&TokenKey::new([0; 32]), &key, [1; 32]);
    for _ in 0..8 {
        assert_eq!(admission.decide(&wrong, &[1; 32]), Err(Refusal::Unknown));
    }
    let right = request(&token().key(), &key, [1; 32]);
    assert_eq!(admission.decide(&right, &[1; 32]), Err(Refusal::Unknown));
}

#[test]
fn node_ids_are_given_once() {
    let tokens = MemoryTokens::new(NodeId(1), Vec::new);
    for (number, expected) in [(0, 2), (1, 3), (0, 2), (2, 4)] {
        let token = super::TokenId([number; 8]);
        if tokens.attempt(token).is_none() {
            tokens.add(token, TokenKey::new([0; 32]), Duration::MAX, Duration::ZERO);
        }
        let admitted = tokens
            .redeem(token, &Applicant { key: PublicKey([number; 32]), addresses: Vec::new() }, Duration::ZERO)
            .unwrap();
        assert_eq!(admitted.node, NodeId(expected));
    }
}

fn joined() -> Joined {
    Joined {
        issued: Issued {
            cluster: ClusterId([3; 16]),
            node: NodeId(5),
            certificate: vec![0x30, 1],
            authority: vec![0x30, 2],
        },
        members: vec![Peer { node: NodeId(1), addresses: vec!["192.0.2.7:10810".parse().unwrap()] }],
    }
}

#[test]
fn golden_messages() {
    let request = JoinRequest {
        token: super::TokenId([1; 8]),
        key: PublicKey([2; 32]),
        proof: [3; 32],
        signature: vec![4; 3],
        addresses: vec!["192.0.2.9:10810".parse().unwrap()],
        program: "silt".to_owned(),
    };
    let message = request.encode();
    assert_eq!(
        hex(&message.body),
        "0404043139322e302e322e393a31303831308f000000f1ffffff0101010101010101020202020202020202020202020202020202020202020202020202020202020203030303030303030303030303030303030303030303030303030303030303039effffff03000000a8ffffff0100000073696c74ffffffff"
    );
    assert_eq!(JoinRequest::decode(&message), Ok(request));
    let answer = encode_answer(&Ok(joined()));
    assert_eq!(
        hex(&answer.body),
        "300130023139322e302e322e373a31303831308f000000f1ffffff0100000000000000f0ffffff0100000000030303030303030303030303030303030500000000000000bcffffff02000000b6ffffff02000000c7ffffff01000000"
    );
    assert_eq!(decode_answer(&answer), Ok(Ok(joined())));
    for refusal in [Refusal::Unknown, Refusal::Expired, Refusal::Used, Refusal::Unavailable] {
        assert_eq!(decode_answer(&encode_answer(&Err(refusal))), Ok(Err(refusal)));
    }
    assert_eq!(JoinRequest::decode(&answer), Err(Error::Misplaced(Kind::JOIN_ANSWER.0)));
    assert_eq!(decode_answer(&Message::new(Kind::JOIN_ANSWER, vec![1; 60])), Err(Error::Body));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
