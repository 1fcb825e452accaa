//! The stored form of commands, outcomes and the configuration, byte for byte. A line of `golden.txt` never changes; a new
//! command gets a new line. What is longer than 256 bytes is there by its length and checksum.

use std::fmt::Write;

use crc_fast::{CrcAlgorithm, checksum};
use rkyv::rancor::Error;

use super::*;

const GOLDEN: &str = include_str!("golden.txt");

fn line(label: &str, bytes: &[u8]) -> String {
    let mut line = format!("{label} ");
    if bytes.len() > 256 {
        write!(line, "{} bytes {:08x}", bytes.len(), checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap();
    } else {
        bytes.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap());
    }
    line
}

fn commands() -> Vec<Command> {
    let (node, volume, epoch, token) = (NodeId(3), VolumeId(7), Epoch(5), TokenId([2; 8]));
    let origin = Some(Origin { volume: VolumeId(1), snapshot: Some(SnapshotId(4)) });
    let new = NewVolume { origin, ..new_volume("db", &[1, 2, 3]) };
    let cut = Cut { volume, epoch, name: name("s"), lsn: Lsn(99) };
    vec![
        Command::Found { cluster: CLUSTER, node: new_node(1), now_ms: 8 },
        Command::CreateToken { token, key: kept(9), expires_ms: 9, now_ms: 8 },
        Command::RemoveToken { token },
        Command::Join { token, key: key(1), now_ms: 8 },
        describe(node, &new_node(3)),
        Command::AdmitNode { node },
        Command::MoveNode { node, addresses: vec![text("a:1")], zone: text("z") },
        Command::RenameNode { node, name: name("n") },
        Command::RenewKey { node, key: key(2) },
        Command::DrainNode { node },
        Command::ResumeNode { node },
        Command::RemoveNode { node },
        Command::ForgetNode { node },
        Command::CreateVolume(new),
        Command::FinishImport { volume },
        Command::RenameVolume { volume, name: name("n") },
        Command::ResizeVolume { volume, size_bytes: 4096 },
        Command::SetCodec { volume, codec: text("zstd:3") },
        Command::SetSchedule { volume, schedule: Some(text("every=1h")) },
        Command::SetCopies { volume, copies: Copies::of(3), placement: vec![node] },
        Command::TrashVolume { volume, expires_ms: 9, now_ms: 8 },
        Command::RestoreVolume { volume, name: name("n") },
        Command::DeleteVolume { volume, with_snapshots: true },
        Command::ChangeReplicas { volume, next: next(6, &[(3, 1), (4, 6)]) },
        Command::PlaceReplicas { volume, nodes: vec![node] },
        Command::CreateSnapshots { cuts: vec![cut], now_ms: 8 },
        Command::RenameSnapshot { volume, name: name("s"), to: name("t") },
        Command::RemoveSnapshots { volume, names: vec![name("s")] },
        Command::SetSetting { name: name("k"), value: Some(text("v")) },
        Command::PurgeVolume { volume, removed_ms: 8 },
        Command::SetAllowed { volume, names: vec![identity("backup")] },
        Command::SetLimits { volume, limits: VolumeLimits { reserve_bytes: Some(0x100), quota_bytes: Some(0x200) } },
        Command::BeginRotation { node, certificate: vec![1, 2, 3] },
        Command::ConfirmRotation { node, authority: Fingerprint([4; 32]), stage: RotationStage::Showing },
        Command::CancelRotation { authority: Fingerprint([4; 32]) },
    ]
}

fn outcomes() -> Vec<Result<Outcome, Rejection>> {
    let (volume, node) = (VolumeId(7), NodeId(3));
    vec![
        Ok(Outcome::Done),
        Ok(Outcome::Node(node)),
        Ok(Outcome::Volume(volume)),
        Ok(Outcome::Snapshots(vec![SnapshotId(1), SnapshotId(2)])),
        Ok(Outcome::Epoch(Epoch(5))),
        Err(Rejection::Founded),
        Err(Rejection::Full(Limit::Ids)),
        Err(Rejection::Epoch { volume, expected: Epoch(1), found: Epoch(2) }),
        Err(Rejection::SnapshotNameTaken { volume, name: name("s") }),
    ]
}

/// A configuration with something of everything.
fn full() -> Configuration {
    let mut configuration = with_volume();
    token(&mut configuration);
    let cut = Cut { volume: VolumeId(1), epoch: Epoch(1), name: name("s"), lsn: Lsn(9) };
    done(&mut configuration, Command::CreateSnapshots { cuts: vec![cut], now_ms: 7 });
    done(&mut configuration, Command::PlaceReplicas { volume: VolumeId(1), nodes: [1, 2, 4].map(NodeId).to_vec() });
    done(&mut configuration, change(1, next(2, &[(1, 1), (2, 1), (3, 1), (4, 2)])));
    joining(&mut configuration, 5);
    done(&mut configuration, Command::SetSetting { name: name("k"), value: Some(text("v")) });
    done(&mut configuration, Command::CreateVolume(new_volume("old", &[1, 2])));
    done(&mut configuration, Command::TrashVolume { volume: VolumeId(2), expires_ms: 50, now_ms: 10 });
    configuration
}

#[test]
fn the_bytes_are_these() {
    let mut lines = Vec::new();
    for command in commands() {
        let bytes = rkyv::to_bytes::<Error>(&command).unwrap();
        assert_eq!(rkyv::from_bytes::<Command, Error>(&bytes).unwrap(), command);
        let label = format!("{command:?}");
        let label: String = label.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        lines.push(line(&label, &bytes));
    }
    for (number, outcome) in outcomes().into_iter().enumerate() {
        let bytes = rkyv::to_bytes::<Error>(&outcome).unwrap();
        assert_eq!(rkyv::from_bytes::<Result<Outcome, Rejection>, Error>(&bytes).unwrap(), outcome);
        lines.push(line(&format!("outcome-{number}"), &bytes));
    }
    let record = full().encode();
    assert_eq!(Configuration::decode(&record).unwrap(), full());
    lines.push(line("configuration", &record));
    let mut with_lists = full();
    done(&mut with_lists, Command::SetAllowed { volume: VolumeId(1), names: vec![identity("backup")] });
    let record = with_lists.encode();
    assert_eq!(Configuration::decode(&record).unwrap(), with_lists);
    lines.push(line("configuration-with-lists", &record));
    let limits = VolumeLimits { reserve_bytes: None, quota_bytes: Some(0x200) };
    let mut with_limits = full();
    done(&mut with_limits, Command::SetLimits { volume: VolumeId(1), limits });
    let record = with_limits.encode();
    assert_eq!(Configuration::decode(&record).unwrap(), with_limits);
    lines.push(line("configuration-with-limits", &record));
    let mut with_both = with_lists;
    done(&mut with_both, Command::SetLimits { volume: VolumeId(1), limits });
    assert_eq!(Configuration::decode(&with_both.encode()).unwrap(), with_both);
    let mut with_authority = cluster(2);
    begin_rotation(&mut with_authority, 1, 7);
    confirm_rotation(&mut with_authority, 2, 7, RotationStage::Trusting);
    let record = with_authority.encode();
    assert_eq!(Configuration::decode(&record).unwrap(), with_authority);
    lines.push(line("configuration-with-rotation", &record));
    rotate(&mut with_authority, 7);
    let record = with_authority.encode();
    assert_eq!(Configuration::decode(&record).unwrap(), with_authority);
    lines.push(line("configuration-with-authority", &record));
    let found = lines.join("\n") + "\n";
    assert!(found == GOLDEN, "found\n{found}");
}
