//! The cluster's side: decides about a request and signs the certificate.

use std::fmt;
use std::sync::Arc;

use super::error::Refusal;
use super::exchange::{Binding, JoinAnswer, JoinRequest, Joined};
use super::store::{Applicant, TokenStore};
use crate::environment::{Clock, Rng};
use crate::identity::Authority;

/// Lets nodes in: on a node that has the authority's key.
pub struct Admission {
    authority: Authority,
    tokens: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Admission {
    /// Signs with `authority` for whoever shows one of `tokens`.
    pub fn new(authority: Authority, tokens: Arc<dyn TokenStore>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self { authority, tokens, clock, rng }
    }

    /// Decides. An asker that does not know a token's secret learns nothing about tokens. May block on the store.
    pub(crate) fn decide(&self, request: &JoinRequest, binding: &Binding) -> JoinAnswer {
        let key = self.tokens.attempt(request.token).ok_or(Refusal::Unknown)?;
        if !request.knows(&key, binding) || !request.has_key(binding) {
            return Err(Refusal::Unknown);
        }
        let now = self.clock.wall();
        let applicant = Applicant { key: request.key, addresses: request.addresses.clone() };
        let admitted = self.tokens.redeem(request.token, &applicant, now)?;
        let issued = self.authority.issue(admitted.node, request.key, now, &*self.rng).map_err(|error| {
            tracing::error!(node = %admitted.node, error = &error as &dyn std::error::Error, "no certificate");
            Refusal::Unavailable
        })?;
        tracing::info!(node = %admitted.node, program = request.program, "a node joined");
        Ok(Joined { issued, members: admitted.members })
    }
}
