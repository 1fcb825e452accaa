//! Commands about tokens.

use super::super::id::TokenId;
use super::node::{About, NodeState};
use super::token::{KeptKey, Token};
use super::{Configuration, Limit, Outcome, Rejection, TOKENS_MAX};
use crate::identity::PublicKey;

impl Configuration {
    pub(super) fn create_token(
        &mut self,
        id: TokenId,
        key: KeptKey,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<Outcome, Rejection> {
        self.refuse_during_rotation()?;
        if expires_ms <= now_ms {
            return Err(Rejection::ExpiresInThePast);
        }
        if self.tokens.contains_key(&id) {
            return Err(Rejection::TokenKnown);
        }
        let alive = self.tokens.values().filter(|token| token.expires_ms > now_ms).count();
        if alive >= TOKENS_MAX {
            return Err(Rejection::Full(Limit::Tokens));
        }
        self.tokens.retain(|_, token| token.expires_ms > now_ms);
        self.tokens.insert(id, Token { id, key, expires_ms, used_by: None });
        Ok(Outcome::Done)
    }

    pub(super) fn remove_token(&mut self, id: TokenId) -> Result<Outcome, Rejection> {
        self.tokens.remove(&id).map(|_| Outcome::Done).ok_or(Rejection::InvalidToken)
    }

    /// Lets the node with this key in. Asked again for the same key it says the same, as the answer may have been lost.
    pub(super) fn join(&mut self, id: TokenId, key: PublicKey, now_ms: u64) -> Result<Outcome, Rejection> {
        let token = self.tokens.get(&id).ok_or(Rejection::InvalidToken)?;
        if token.expires_ms <= now_ms {
            return Err(Rejection::TokenExpired);
        }
        if let Some((user, node)) = token.used_by {
            let is_same = user == key && self.present_node(node).is_ok();
            return if is_same { Ok(Outcome::Node(node)) } else { Err(Rejection::TokenUsed(node)) };
        }
        let node = self.insert_node(About::unknown(self.free_name(), key), NodeState::Joining, now_ms)?;
        if let Some(token) = self.tokens.get_mut(&id) {
            token.used_by = Some((key, node));
        }
        Ok(Outcome::Node(node))
    }
}
