//! Tokens over a configuration that is applied at once, or says that it does not know.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::super::id::{ClusterId, NodeId, StoreId};
use super::super::raft::{Answer, Metrics};
use super::super::state::{About, KeptKey, Step};
use super::super::storage::View;
use super::*;
use crate::identity::PublicKey;

const TOKEN: TokenId = TokenId([1; 8]);
const KEY: PublicKey = PublicKey([7; 32]);
const NOW: Duration = Duration::from_millis(5);

fn applicant(key: PublicKey) -> Applicant {
    Applicant { key, addresses: vec!["10.0.0.2:7000".parse().unwrap()] }
}

/// Agrees with itself at once.
struct Alone {
    configuration: Mutex<Configuration>,
    /// What this node has seen, which may be late.
    seen: watch::Sender<View>,
    /// So many commands are applied without saying so.
    is_silent: AtomicU64,
    is_reachable: bool,
}

impl Alone {
    /// A cluster of one node, whose name no address has, and a token that this node has not heard of.
    fn new() -> Self {
        let mut configuration = Configuration::default();
        let about = About {
            name: "one".parse().unwrap(),
            addresses: vec!["10.0.0.1:7000".parse().unwrap(), "a-name:7000".parse().unwrap()],
            zone: "".parse().unwrap(),
            key: PublicKey([1; 32]),
            store: Some(StoreId([1; 16])),
        };
        configuration.apply(&Command::Found { cluster: ClusterId([1; 16]), node: about, now_ms: 0 }).unwrap();
        let (seen, _) = watch::channel(View { applied: 1, configuration: Arc::new(configuration.clone()) });
        let key = KeptKey::from(&TokenKey::new([9; 32]));
        configuration.apply(&Command::CreateToken { token: TOKEN, key, expires_ms: 100, now_ms: 0 }).unwrap();
        let (configuration, is_silent) = (Mutex::new(configuration), AtomicU64::new(0));
        Self { configuration, seen, is_silent, is_reachable: true }
    }

    fn view(&self) -> View {
        View { applied: 2, configuration: Arc::new(self.configuration.lock().clone()) }
    }
}

impl Consensus for Alone {
    fn propose(&self, command: Command) -> Answer<'_, Result<Committed, ProposeError>> {
        Box::pin(async move {
            if !self.is_reachable {
                return Err(ProposeError::NoLeader);
            }
            let outcome = self.configuration.lock().apply(&command);
            self.seen.send_replace(self.view());
            if self.is_silent.load(Ordering::Relaxed) > 0 {
                self.is_silent.fetch_sub(1, Ordering::Relaxed);
                return Err(ProposeError::Uncertain);
            }
            Ok(Committed { index: 2, outcome: outcome? })
        })
    }

    fn read(&self) -> Answer<'_, Result<View, ProposeError>> {
        Box::pin(async { if self.is_reachable { Ok(self.view()) } else { Err(ProposeError::NoLeader) } })
    }

    fn watch(&self) -> watch::Receiver<View> {
        self.seen.subscribe()
    }

    fn metrics(&self) -> Metrics {
        unreachable!("tokens do not ask")
    }

    fn take(&self, _: Step) -> Answer<'_, Result<(), ProposeError>> {
        unreachable!("tokens do not ask")
    }

    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(async {})
    }
}

/// Does something with the tokens of a cluster, as on a thread of another runtime.
fn with(alone: Alone, act: impl FnOnce(&ConfiguredTokens, &Alone)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let alone = Arc::new(alone);
    act(&ConfiguredTokens::new(alone.clone(), runtime.handle().clone()), &alone);
}

#[test]
fn a_token_that_this_node_has_not_heard_of_is_looked_for() {
    with(Alone::new(), |tokens, _| {
        assert_eq!(tokens.attempt(TOKEN), Some(TokenKey::new([9; 32])));
        assert_eq!(tokens.attempt(TokenId([2; 8])), None);
    });
    with(Alone { is_reachable: false, ..Alone::new() }, |tokens, _| {
        assert_eq!(tokens.attempt(TOKEN), None);
        assert_eq!(tokens.redeem(TOKEN, &applicant(KEY), NOW), Err(Refusal::Unavailable));
    });
}

#[test]
fn a_token_is_shown_so_often_and_no_more() {
    with(Alone::new(), |tokens, _| {
        for _ in 0..ATTEMPTS_MAX {
            assert!(tokens.attempt(TOKEN).is_some());
        }
        assert_eq!(tokens.attempt(TOKEN), None);
        assert_eq!(tokens.attempts.lock().len(), 1);
    });
}

#[test]
fn a_node_is_let_in_once_and_told_of_the_others() {
    with(Alone::new(), |tokens, alone| {
        let peers = vec![Peer { node: NodeId(1), addresses: vec!["10.0.0.1:7000".parse().unwrap()] }];
        let admitted = Admitted { node: NodeId(2), members: peers };
        assert_eq!(tokens.redeem(TOKEN, &applicant(KEY), NOW), Ok(admitted.clone()));
        assert_eq!(tokens.redeem(TOKEN, &applicant(KEY), NOW), Ok(admitted.clone()), "the answer was lost");
        let known = alone.view().configuration.node(admitted.node).unwrap().about.addresses.clone();
        assert_eq!(known, ["10.0.0.2:7000".parse().unwrap()], "others can reach it");
        assert_eq!(alone.configuration.lock().nodes().count(), 2);
        assert_eq!(tokens.redeem(TOKEN, &applicant(PublicKey([8; 32])), NOW), Err(Refusal::Used));
        assert_eq!(tokens.redeem(TokenId([2; 8]), &applicant(KEY), NOW), Err(Refusal::Unknown));
        assert_eq!(tokens.redeem(TOKEN, &applicant(KEY), Duration::from_millis(100)), Err(Refusal::Expired));
    });
}

#[test]
fn what_is_not_known_is_asked_again_but_not_for_ever() {
    for (silent, is_let_in) in [(TRIES - 1, true), (TRIES, false)] {
        let alone = Alone { is_silent: AtomicU64::new(silent as u64), ..Alone::new() };
        with(alone, |tokens, alone| {
            let result = tokens.redeem(TOKEN, &applicant(KEY), NOW).map(|admitted| admitted.node);
            assert_eq!(result, if is_let_in { Ok(NodeId(2)) } else { Err(Refusal::Unavailable) });
            assert_eq!(alone.configuration.lock().nodes().count(), 2);
        });
    }
}
