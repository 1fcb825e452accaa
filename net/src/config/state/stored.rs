//! The stored form of a configuration: flat lists, with nothing that can be derived. With lists of who may open volumes, and
//! with reservations or quotas, it is another one, which earlier programs do not read: they would open what they must not, and let
//! in what has no room. Once another authority is taken up it is yet another: they would neither trust nor show it.

use std::collections::BTreeMap;

use super::super::id::{ClusterId, NodeId, SnapshotId, VolumeId};
use super::super::name::{Identity, Name, Text};
use super::super::record::{self, InvalidRecord, Kind, Place};
use super::limits::VolumeLimits;
use super::node::Node;
use super::rotation::Rotation;
use super::token::Token;
use super::volume::{Snapshot, Volume};
use super::{Configuration, NextIds};

const KIND: Kind = Kind(*b"cCfg");

/// With lists of who may open volumes.
const KIND_WITH_LISTS: Kind = Kind(*b"cCfA");

/// With these, or none, and reservations or quotas.
const KIND_WITH_LIMITS: Kind = Kind(*b"cCfL");

/// With these, or none, and an authority that is not the first, or is to take its place.
const KIND_WITH_AUTHORITY: Kind = Kind(*b"cCfR");

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct ConfigurationV1 {
    cluster: Option<ClusterId>,
    next_node: NodeId,
    next_volume: VolumeId,
    next_snapshot: SnapshotId,
    nodes: Vec<Node>,
    tokens: Vec<Token>,
    volumes: Vec<Volume>,
    snapshots: Vec<SnapshotV1>,
    settings: Vec<SettingV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct WithLists {
    rest: ConfigurationV1,
    allowed: Vec<AllowedV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct WithLimits {
    rest: WithLists,
    limits: Vec<LimitsV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct WithAuthority {
    rest: WithLimits,
    authority: Option<Vec<u8>>,
    rotation: Option<Rotation>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct LimitsV1 {
    volume: VolumeId,
    limits: VolumeLimits,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct AllowedV1 {
    volume: VolumeId,
    names: Vec<Identity>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SnapshotV1 {
    volume: VolumeId,
    name: Name,
    snapshot: Snapshot,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SettingV1 {
    name: Name,
    value: Text,
}

impl Configuration {
    /// The stored form, as a record. It is the same in every file, since it travels between nodes.
    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let snapshots = self.snapshots.iter().flat_map(|(&volume, of_volume)| {
            let stored = move |(name, snapshot): (&Name, &Snapshot)| SnapshotV1 {
                volume,
                name: name.clone(),
                snapshot: *snapshot,
            };
            of_volume.iter().map(stored)
        });
        let settings = self.settings.iter().map(|(name, value)| SettingV1 { name: name.clone(), value: value.clone() });
        let stored = ConfigurationV1 {
            cluster: self.cluster,
            next_node: self.next.node,
            next_volume: self.next.volume,
            next_snapshot: self.next.snapshot,
            nodes: self.nodes.values().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            volumes: self.volumes.values().cloned().collect(),
            snapshots: snapshots.collect(),
            settings: settings.collect(),
        };
        let has_first_authority = self.authority.is_none() && self.rotation.is_none();
        if self.allowed.is_empty() && self.limits.is_empty() && has_first_authority {
            return record::encode(KIND, Place::default(), &stored);
        }
        let allowed = self.allowed.iter().map(|(&volume, names)| AllowedV1 { volume, names: names.clone() });
        let stored = WithLists { rest: stored, allowed: allowed.collect() };
        if self.limits.is_empty() && has_first_authority {
            return record::encode(KIND_WITH_LISTS, Place::default(), &stored);
        }
        let limits = self.limits.iter().map(|(&volume, &limits)| LimitsV1 { volume, limits });
        let stored = WithLimits { rest: stored, limits: limits.collect() };
        if has_first_authority {
            return record::encode(KIND_WITH_LIMITS, Place::default(), &stored);
        }
        let (authority, rotation) = (self.authority.clone(), self.rotation.clone());
        let stored = WithAuthority { rest: stored, authority, rotation };
        record::encode(KIND_WITH_AUTHORITY, Place::default(), &stored)
    }

    /// The configuration in a record; one that breaks an invariant is damage.
    pub(in super::super) fn decode(record: &[u8]) -> Result<Self, InvalidRecord> {
        let WithAuthority { rest, authority, rotation } = decode_any(record)?;
        let WithLimits { rest: WithLists { rest: stored, allowed }, limits } = rest;
        let snapshot_count = stored.snapshots.len();
        let mut snapshots: BTreeMap<VolumeId, BTreeMap<Name, Snapshot>> = BTreeMap::new();
        for SnapshotV1 { volume, name, snapshot } in stored.snapshots {
            snapshots.entry(volume).or_default().insert(name, snapshot);
        }
        let named = stored.volumes.iter().filter(|volume| volume.trashed.is_none());
        let configuration = Self {
            cluster: stored.cluster,
            next: NextIds { node: stored.next_node, volume: stored.next_volume, snapshot: stored.next_snapshot },
            names: named.map(|volume| (volume.name.clone(), volume.id)).collect(),
            nodes: stored.nodes.into_iter().map(|node| (node.id, node)).collect(),
            tokens: stored.tokens.into_iter().map(|token| (token.id, token)).collect(),
            volumes: stored.volumes.into_iter().map(|volume| (volume.id, volume)).collect(),
            snapshots,
            settings: stored.settings.into_iter().map(|setting| (setting.name, setting.value)).collect(),
            snapshot_count,
            allowed: allowed.into_iter().map(|allowed| (allowed.volume, allowed.names)).collect(),
            limits: limits.into_iter().map(|limits| (limits.volume, limits.limits)).collect(),
            authority,
            rotation,
        };
        configuration.check().map(|()| configuration).map_err(|_| InvalidRecord::Damaged)
    }
}

/// What is in a record of any kind.
fn decode_any(record: &[u8]) -> Result<WithAuthority, InvalidRecord> {
    if record.starts_with(&KIND_WITH_AUTHORITY.0) {
        return record::decode(KIND_WITH_AUTHORITY, Place::default(), record);
    }
    Ok(WithAuthority { rest: decode_with_first_authority(record)?, authority: None, rotation: None })
}

fn decode_with_first_authority(record: &[u8]) -> Result<WithLimits, InvalidRecord> {
    if record.starts_with(&KIND_WITH_LIMITS.0) {
        return record::decode(KIND_WITH_LIMITS, Place::default(), record);
    }
    let rest = if record.starts_with(&KIND_WITH_LISTS.0) {
        record::decode(KIND_WITH_LISTS, Place::default(), record)?
    } else {
        WithLists { rest: record::decode(KIND, Place::default(), record)?, allowed: Vec::new() }
    };
    Ok(WithLimits { rest, limits: Vec::new() })
}
