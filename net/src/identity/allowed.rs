//! The nodes that may speak now, as the cluster's configuration says, and the keys that are theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use super::verifier::verify_chain;
use super::{NodeId, PublicKey};

/// The nodes that may speak, shared between whoever follows the configuration and the checks of certificates.
///
/// A certificate of a node that is not in the set is worth nothing, however long it is valid. Where the keys are known to be the
/// present ones, a certificate with another key is worth nothing either: whoever has only the authority's key can sign one.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    nodes: BTreeSet<NodeId>,
    /// `None` while this node may be behind: then others may have renewed their keys without its knowing.
    keys: Option<BTreeMap<NodeId, PublicKey>>,
    /// Authorities besides that of the node's own certificate.
    authorities: Vec<CertificateDer<'static>>,
}

impl Allowed {
    /// These nodes and no others, with any key.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self(Arc::new(RwLock::new(State { nodes: nodes.into_iter().collect(), ..State::default() })))
    }

    /// True if `node` may speak.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.read().nodes.contains(&node)
    }

    /// True if `node` may speak with the key of this SubjectPublicKeyInfo, X.509 DER.
    #[must_use]
    pub fn permits(&self, node: NodeId, key_info: &[u8]) -> bool {
        let state = self.0.read();
        let is_key = |keys: &BTreeMap<NodeId, PublicKey>| {
            keys.get(&node).is_some_and(|key| key.subject_public_key_info() == key_info)
        };
        state.nodes.contains(&node) && state.keys.as_ref().is_none_or(is_key)
    }

    /// From now on these nodes and no others. Handshakes see it at once.
    pub fn replace(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.0.write().nodes = nodes.into_iter().collect();
    }

    /// From now on nodes have these keys and no others; `None`: any that the authority signed for them. Handshakes see it at once.
    /// True if keys were known before, so that whoever spoke until now had one that was right then.
    pub fn pin(&self, keys: Option<BTreeMap<NodeId, PublicKey>>) -> bool {
        std::mem::replace(&mut self.0.write().keys, keys).is_some()
    }

    /// From now on these authorities (X.509 DER) are trusted besides that of the node's own certificate, and no others. Handshakes see
    /// it at once.
    pub fn trust(&self, authorities: Vec<Vec<u8>>) {
        self.0.write().authorities = authorities.into_iter().map(CertificateDer::from).collect();
    }

    /// True if one of the other authorities signed `certificate`, for this use, valid at `now`.
    pub(super) fn is_signed_by_another(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> bool {
        let state = self.0.read();
        state.authorities.iter().any(|authority| verify_chain(certificate, authority, now, usage).is_ok())
    }
}
