use super::*;

const VOLUME: VolumeId = VolumeId(1);

fn cut(volume: u64, called: &str, lsn: u64) -> Cut {
    Cut { volume: VolumeId(volume), epoch: Epoch(1), name: name(called), lsn: Lsn(lsn) }
}

fn snapshot(cuts: &[Cut]) -> Command {
    Command::CreateSnapshots { cuts: cuts.to_vec(), now_ms: 7 }
}

#[test]
fn a_volume_is_made_with_who_holds_it() {
    let mut configuration = with_volume();
    let volume = configuration.volume_named(&name("db")).unwrap();
    assert_eq!(volume.id, VOLUME);
    assert_eq!(volume.replicas.configuration(), replication::Configuration::first(NodeId(1), &[NodeId(2), NodeId(3)]));
    assert_eq!(volume.replicas.placement, [1, 2, 3].map(NodeId));
    refused(
        &mut configuration,
        Command::CreateVolume(new_volume("db", &[1, 2])),
        "there is a volume called db already",
    );
    let mut create = |change: &dyn Fn(&mut NewVolume), words: &str| {
        let mut new = new_volume("other", &[1, 2]);
        change(&mut new);
        refused(&mut configuration, Command::CreateVolume(new), words);
    };
    create(&|new| new.size_bytes = 0, "0 is no size for a volume: it has 1 to 1125899906842624 bytes");
    create(&|new| new.placement = vec![NodeId(1)], "1 nodes do not fit 3 copies of which 2 must be in sync");
    create(
        &|new| new.placement = [1, 2, 3, 4].map(NodeId).to_vec(),
        "4 nodes do not fit 3 copies of which 2 must be in sync",
    );
    create(&|new| new.placement = vec![NodeId(1), NodeId(1)], "the list names something twice, or nothing");
    create(&|new| new.primary = NodeId(3), "volume 2 is not placed on node 3");
    let gone = Origin { volume: VolumeId(9), snapshot: None };
    create(&|new| new.origin = Some(gone), "what the volume is to be cloned from is not there any more");
}

#[test]
fn the_trash_keeps_all_but_the_name() {
    let mut configuration = with_volume();
    done(&mut configuration, snapshot(&[cut(1, "s", 3)]));
    done(&mut configuration, Command::SetSchedule { volume: VOLUME, schedule: Some(text("every=1h keep=1h:1d")) });
    done(&mut configuration, Command::TrashVolume { volume: VOLUME, expires_ms: 50, now_ms: 10 });
    let trashed = configuration.volume(VOLUME).unwrap();
    assert_eq!(trashed.trashed, Some(Trashed { removed_ms: 10, expires_ms: 50 }));
    assert_eq!(configuration.volume_named(&name("db")), None);
    for command in [
        Command::RenameVolume { volume: VOLUME, name: name("x") },
        Command::ResizeVolume { volume: VOLUME, size_bytes: 1 },
        Command::TrashVolume { volume: VOLUME, expires_ms: 50, now_ms: 10 },
        snapshot(&[cut(1, "t", 4)]),
    ] {
        refused(&mut configuration, command, "volume 1 is in the trash: restore it first");
    }
    // Its replicas still fail and are replaced.
    done(&mut configuration, change(1, next(2, &[(1, 1), (3, 1)])));
    done(&mut configuration, Command::CreateVolume(new_volume("db", &[1, 2])));
    let restore = |called: &str| Command::RestoreVolume { volume: VOLUME, name: name(called) };
    refused(&mut configuration, restore("db"), "there is a volume called db already");
    done(&mut configuration, restore("db-old"));
    refused(&mut configuration, restore("again"), "volume 1 is not in the trash");
    assert!(configuration.snapshot(VOLUME, &name("s")).is_some());
    assert_eq!(configuration.volume(VOLUME).unwrap().schedule, Some(text("every=1h keep=1h:1d")));
}

#[test]
fn ids_of_deleted_volumes_and_snapshots_do_not_come_back() {
    let mut configuration = with_volume();
    assert_eq!(done(&mut configuration, snapshot(&[cut(1, "s", 3)])), Outcome::Snapshots(vec![SnapshotId(1)]));
    let delete = |with_snapshots| Command::DeleteVolume { volume: VOLUME, with_snapshots };
    refused(&mut configuration, delete(false), "volume 1 has 1 snapshots: remove them first, or with it");
    done(&mut configuration, delete(true));
    refused(&mut configuration, delete(true), "there is no volume 1");
    let again = Command::CreateVolume(new_volume("db", &[1, 2]));
    assert_eq!(done(&mut configuration, again), Outcome::Volume(VolumeId(2)));
    assert_eq!(done(&mut configuration, snapshot(&[cut(2, "s", 3)])), Outcome::Snapshots(vec![SnapshotId(2)]));
}

#[test]
fn what_was_had_back_from_the_trash_is_not_purged() {
    let mut configuration = with_volume();
    let trash = |now_ms| Command::TrashVolume { volume: VOLUME, expires_ms: now_ms + 5, now_ms };
    let purge = |removed_ms| Command::PurgeVolume { volume: VOLUME, removed_ms };
    refused(&mut configuration, purge(0), "volume 1 is not in the trash");
    done(&mut configuration, trash(10));
    done(&mut configuration, Command::RestoreVolume { volume: VOLUME, name: name("db") });
    refused(&mut configuration, purge(10), "volume 1 is not in the trash");
    done(&mut configuration, trash(20));
    refused(&mut configuration, purge(10), "volume 1 is not in the trash");
    done(&mut configuration, purge(20));
    assert_eq!(configuration.volume(VOLUME), None);
}

#[test]
fn snapshots_of_one_moment_are_a_group_all_or_none() {
    let mut configuration = with_volume();
    done(&mut configuration, Command::CreateVolume(new_volume("log", &[2, 3])));
    done(&mut configuration, snapshot(&[cut(1, "taken", 1)]));
    let words = "volume 1 has a snapshot taken already";
    refused(&mut configuration, snapshot(&[cut(2, "new", 1), cut(1, "taken", 1)]), words);
    let made = done(&mut configuration, snapshot(&[cut(1, "both", 11), cut(2, "both", 22)]));
    assert_eq!(made, Outcome::Snapshots(vec![SnapshotId(2), SnapshotId(3)]));
    let of = |volume: u64| *configuration.snapshot(VolumeId(volume), &name("both")).unwrap();
    assert_eq!(of(1), Snapshot { id: SnapshotId(2), lsn: Lsn(11), group: SnapshotId(2), created_ms: 7 });
    assert_eq!(of(2), Snapshot { id: SnapshotId(3), lsn: Lsn(22), group: SnapshotId(2), created_ms: 7 });
    let list = "the list names something twice, or nothing";
    refused(&mut configuration, snapshot(&[]), list);
    refused(&mut configuration, snapshot(&[cut(1, "a", 1), cut(1, "b", 1)]), list);
    let old = Cut { epoch: Epoch(2), ..cut(1, "a", 1) };
    refused(&mut configuration, snapshot(&[old]), "volume 1 is in epoch 1, not 2: look at it again");
}

#[test]
fn snapshots_are_renamed_and_removed() {
    let mut configuration = with_volume();
    for called in ["a", "b", "c"] {
        done(&mut configuration, snapshot(&[cut(1, called, 1)]));
    }
    let rename = |from: &str, to: &str| Command::RenameSnapshot { volume: VOLUME, name: name(from), to: name(to) };
    refused(&mut configuration, rename("a", "b"), "volume 1 has a snapshot b already");
    refused(&mut configuration, rename("x", "y"), "volume 1 has no snapshot x");
    done(&mut configuration, rename("a", "z"));
    let remove = |names: &[&str]| Command::RemoveSnapshots {
        volume: VOLUME,
        names: names.iter().map(|called| name(called)).collect(),
    };
    refused(&mut configuration, remove(&["b", "a"]), "volume 1 has no snapshot a");
    refused(&mut configuration, remove(&["b", "b"]), "the list names something twice, or nothing");
    done(&mut configuration, remove(&["z", "b"]));
    assert_eq!(configuration.snapshots(VOLUME).map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c"]);
    done(&mut configuration, remove(&["c"]));
}

#[test]
fn a_clone_knows_what_it_came_from() {
    let mut configuration = with_volume();
    done(&mut configuration, snapshot(&[cut(1, "s", 3)]));
    let origin = Origin { volume: VOLUME, snapshot: Some(SnapshotId(1)) };
    let new = NewVolume { origin: Some(origin), ..new_volume("clone", &[1, 2]) };
    done(&mut configuration, Command::CreateVolume(new));
    done(&mut configuration, Command::DeleteVolume { volume: VOLUME, with_snapshots: true });
    assert_eq!(configuration.volume_named(&name("clone")).unwrap().origin, Some(origin));
}

#[test]
fn an_import_ends_once() {
    let mut configuration = cluster(2);
    let new = NewVolume { state: VolumeState::Importing, ..new_volume("image", &[1, 2]) };
    done(&mut configuration, Command::CreateVolume(new));
    done(&mut configuration, Command::FinishImport { volume: VOLUME });
    refused(&mut configuration, Command::FinishImport { volume: VOLUME }, "volume 1 is not being imported");
}

#[test]
fn a_volume_can_be_renamed_resized_and_compressed_otherwise() {
    let mut configuration = with_volume();
    done(&mut configuration, Command::RenameVolume { volume: VOLUME, name: name("main") });
    assert_eq!(configuration.volume_named(&name("db")), None);
    done(&mut configuration, Command::ResizeVolume { volume: VOLUME, size_bytes: 5 });
    done(&mut configuration, Command::SetCodec { volume: VOLUME, codec: text("zstd:3") });
    let volume = configuration.volume_named(&name("main")).unwrap();
    assert_eq!((volume.size_bytes, volume.codec.as_str()), (5, "zstd:3"));
    let words = format!("{} is no size for a volume: it has 1 to {VOLUME_BYTES_MAX} bytes", VOLUME_BYTES_MAX + 1);
    let large = Command::ResizeVolume { volume: VOLUME, size_bytes: VOLUME_BYTES_MAX + 1 };
    refused(&mut configuration, large, &words);
}

#[test]
fn who_may_open_a_volume_follows_it_and_its_clones() {
    let mut configuration = with_volume();
    let set =
        |names: &[&str]| Command::SetAllowed { volume: VOLUME, names: names.iter().map(|it| identity(it)).collect() };
    let clone = |called: &str| {
        Command::CreateVolume(NewVolume {
            origin: Some(Origin { volume: VOLUME, snapshot: None }),
            ..new_volume(called, &[1, 2])
        })
    };
    assert!(configuration.allowed(VOLUME).is_empty());
    done(&mut configuration, set(&["b", "a", "b"]));
    assert_eq!(configuration.allowed(VOLUME), ["a", "b"].map(identity));
    done(&mut configuration, clone("clone"));
    done(&mut configuration, set(&[]));
    assert!(configuration.allowed(VOLUME).is_empty());
    assert_eq!(configuration.allowed(VolumeId(2)), ["a", "b"].map(identity));
    done(&mut configuration, clone("open"));
    assert!(configuration.allowed(VolumeId(3)).is_empty());
    let many: Vec<String> = (0..=IDENTITIES_MAX).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&mut configuration, set(&many), "a list of who may open a volume has at most 64 names");
    done(&mut configuration, Command::TrashVolume { volume: VolumeId(2), expires_ms: 50, now_ms: 10 });
    assert_eq!(configuration.allowed(VolumeId(2)).len(), 2, "the trash keeps it");
    done(&mut configuration, Command::DeleteVolume { volume: VolumeId(2), with_snapshots: false });
    assert!(configuration.allowed(VolumeId(2)).is_empty());
}

#[test]
fn limits_follow_a_volume_into_the_trash_and_are_none_of_its_clones() {
    let mut configuration = with_volume();
    let limits = |reserve_bytes, quota_bytes| VolumeLimits { reserve_bytes, quota_bytes };
    let set = |limits| Command::SetLimits { volume: VOLUME, limits };
    let size_bytes = configuration.volume(VOLUME).unwrap().size_bytes;
    assert!(configuration.limits(VOLUME).is_none());
    let both = limits(Some(size_bytes), Some(size_bytes));
    done(&mut configuration, set(both));
    assert_eq!(configuration.limits(VOLUME), both);
    let words = "a reservation is at most the volume's size, and a quota at least the reservation";
    refused(&mut configuration, set(limits(Some(size_bytes + 1), None)), words);
    refused(&mut configuration, set(limits(Some(2), Some(1))), words);
    let origin = Some(Origin { volume: VOLUME, snapshot: None });
    done(&mut configuration, Command::CreateVolume(NewVolume { origin, ..new_volume("clone", &[1, 2]) }));
    assert!(configuration.limits(VolumeId(2)).is_none());
    done(&mut configuration, Command::TrashVolume { volume: VOLUME, expires_ms: 50, now_ms: 10 });
    assert_eq!(configuration.limits(VOLUME), both, "the trash keeps them");
    refused(&mut configuration, set(limits(None, None)), "volume 1 is in the trash: restore it first");
    done(&mut configuration, Command::RestoreVolume { volume: VOLUME, name: name("back") });
    done(&mut configuration, set(limits(None, Some(1))));
    assert_eq!(configuration.limits(VOLUME), limits(None, Some(1)));
    done(&mut configuration, Command::DeleteVolume { volume: VOLUME, with_snapshots: false });
    assert!(configuration.limits(VOLUME).is_none());
    configuration.check().unwrap();
}
