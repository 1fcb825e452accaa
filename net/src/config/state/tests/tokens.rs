use super::*;

fn join(token: TokenId, number: u64, now_ms: u64) -> Command {
    Command::Join { token, key: key(number), now_ms }
}

#[test]
fn a_token_lets_in_one_node_however_often_that_asks() {
    let mut configuration = cluster(1);
    let token = token(&mut configuration);
    let node = Outcome::Node(NodeId(2));
    assert_eq!(done(&mut configuration, join(token, 2, 3)), node);
    assert_eq!(configuration.node(NodeId(2)).unwrap().state, NodeState::Joining);
    assert_eq!(configuration.token(token).unwrap().used_by, Some((key(2), NodeId(2))));
    // The answer may have been lost.
    let before = configuration.clone();
    assert_eq!(done(&mut configuration, join(token, 2, 99)), node);
    assert_eq!(configuration, before);
    refused(&mut configuration, join(token, 3, 3), "the token was used by node 2: make another");
    refused(&mut configuration, join(token, 2, 100), "the token has expired: make another");
    done(&mut configuration, Command::RemoveNode { node: NodeId(2) });
    refused(&mut configuration, join(token, 2, 3), "the token was used by node 2: make another");
}

#[test]
fn a_token_is_good_for_its_time() {
    let mut configuration = cluster(1);
    let first = token(&mut configuration);
    let make = |token, expires_ms, now_ms| Command::CreateToken { token, key: kept(1), expires_ms, now_ms };
    let second = TokenId([7; 8]);
    refused(&mut configuration, join(second, 2, 3), "the token is not valid");
    refused(&mut configuration, join(first, 2, 100), "the token has expired: make another");
    refused(&mut configuration, make(second, 5, 5), "the time it expires at has passed already");
    refused(&mut configuration, make(first, 200, 5), "there is a token of this id already: draw another");
    // Expired ones are forgotten.
    done(&mut configuration, make(second, 200, 100));
    assert_eq!(configuration.tokens().map(|token| token.id).collect::<Vec<_>>(), [second]);
    done(&mut configuration, Command::RemoveToken { token: second });
    refused(&mut configuration, Command::RemoveToken { token: second }, "the token is not valid");
}

#[test]
fn tokens_are_bounded_by_those_that_are_good() {
    let mut configuration = cluster(1);
    let create = |number: usize, now_ms: u64| Command::CreateToken {
        token: TokenId((number as u64).to_le_bytes()),
        key: kept(1),
        expires_ms: now_ms + 10,
        now_ms,
    };
    for number in 0..TOKENS_MAX {
        done(&mut configuration, create(number, 0));
    }
    refused(&mut configuration, create(TOKENS_MAX, 9), "the cluster has as many tokens as it can");
    done(&mut configuration, create(TOKENS_MAX, 10));
    assert_eq!(configuration.tokens().count(), 1);
}

#[test]
fn a_token_is_not_used_up_by_a_node_that_is_refused() {
    let mut configuration = cluster(2);
    let token = token(&mut configuration);
    refused(&mut configuration, join(token, 2, 3), "the key belongs to node 2");
    done(&mut configuration, join(token, 3, 3));
}

#[test]
fn what_a_proof_is_checked_with_is_kept_and_never_shown() {
    let mut configuration = cluster(1);
    let id = token(&mut configuration);
    let kept = configuration.token(id).unwrap().key;
    assert_eq!(TokenKey::from(kept), TokenKey::new([9; 32]));
    assert_eq!(format!("{kept:?}"), "KeptKey(..)");
}
