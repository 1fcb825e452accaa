//! Commands about tokens.

use super::super::id::TokenId;
use super::token::Token;
use super::{Configuration, Limit, Outcome, Rejection, TOKENS_MAX, after};

impl Configuration {
    pub(super) fn create_token(
        &mut self,
        secret_hash: [u8; 32],
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<Outcome, Rejection> {
        if expires_ms <= now_ms {
            return Err(Rejection::ExpiresInThePast);
        }
        let alive = self.tokens.values().filter(|token| token.expires_ms > now_ms).count();
        if alive >= TOKENS_MAX {
            return Err(Rejection::Full(Limit::Tokens));
        }
        let id = self.next.token;
        self.next.token = TokenId(after(id.0)?);
        self.tokens.retain(|_, token| token.expires_ms > now_ms);
        self.tokens.insert(id, Token { id, secret_hash, expires_ms, used_by: None });
        Ok(Outcome::Token(id))
    }

    pub(super) fn remove_token(&mut self, id: TokenId) -> Result<Outcome, Rejection> {
        self.tokens.remove(&id).map(|_| Outcome::Done).ok_or(Rejection::InvalidToken)
    }

    /// That a token lets somebody in.
    pub(super) fn check_token(&self, id: TokenId, secret_hash: &[u8; 32], now_ms: u64) -> Result<(), Rejection> {
        let token = self.tokens.get(&id).filter(|token| token.secret_hash == *secret_hash);
        let token = token.ok_or(Rejection::InvalidToken)?;
        match token.used_by {
            Some(node) => Err(Rejection::TokenUsed(node)),
            None if token.expires_ms <= now_ms => Err(Rejection::TokenExpired),
            None => Ok(()),
        }
    }
}
