//! A node's name in its certificate: `node-7.<cluster id>.siltstone`, a DNS name nobody resolves.

use rustls::pki_types::{CertificateDer, ServerName};

use super::error::Error;
use super::{ClusterId, NodeId};

const PREFIX: &str = "node-";
const SUFFIX: &str = ".siltstone";

/// The name of `node`.
pub(crate) fn node_name(cluster: ClusterId, node: NodeId) -> String {
    format!("{PREFIX}{}.{cluster}{SUFFIX}", node.0)
}

/// The name of `node` as a dialler expects it.
pub(super) fn server_name(cluster: ClusterId, node: NodeId) -> ServerName<'static> {
    ServerName::try_from(node_name(cluster, node)).expect("names of nodes are DNS names")
}

/// The node a name belongs to. Only the one spelling that [`node_name`] gives counts.
fn parse(cluster: ClusterId, name: &str) -> Option<NodeId> {
    let digits = name.strip_prefix(PREFIX)?.split('.').next()?;
    let node = NodeId(digits.parse().ok()?);
    (node_name(cluster, node) == name).then_some(node)
}

/// The node a certificate belongs to. The certificate must name exactly one node of `cluster` and nothing else; that
/// the authority signed it is another question.
pub(crate) fn peer_node(cluster: ClusterId, certificate: &CertificateDer<'_>) -> Result<NodeId, Error> {
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(Error::Untrusted)?;
    let mut names = certificate.valid_dns_names();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(Error::Name { found: "not exactly one name".to_owned() });
    };
    parse(cluster, name).ok_or_else(|| Error::Name { found: name.to_owned() })
}
