use super::*;

#[test]
fn names_follow_the_alphabet() {
    let longest = "a".repeat(63);
    for good in ["a", "0", "demo", "pg-data_1.0", "9-", longest.as_str()] {
        assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
    }
    let too_long = "a".repeat(64);
    for bad in ["", "-a", ".", "..", "_x", "A", "a/b", "a b", "ä", "a\0", "a\n", "@s", too_long.as_str()] {
        assert_eq!(bad.parse::<VolumeName>(), Err(InvalidName::Grammar), "{bad:?}");
        assert_eq!(bad.parse::<ExportName>(), Err(InvalidName::Grammar), "{bad:?}");
    }
}

#[test]
fn a_snapshot_is_named_after_its_volume() {
    let longest = format!("{0}@{0}", "a".repeat(63));
    for good in ["a@s", "0@0", "pg-data@2026-11-26.before_upgrade", longest.as_str()] {
        let name: SnapshotName = good.parse().unwrap();
        assert_eq!(name.to_string(), good);
        assert_eq!(good.parse(), Ok(ExportName::Snapshot(name)));
        assert_eq!(good.parse::<VolumeName>(), Err(InvalidName::Snapshot));
    }
    for bad in ["@", "a@", "@s", "a@-s", "A@s", "a@s@t", "a@@s", "a/../b@s", "a@s\n"] {
        assert_eq!(bad.parse::<SnapshotName>(), Err(InvalidName::Grammar), "{bad:?}");
        assert_eq!(bad.parse::<ExportName>(), Err(InvalidName::Grammar), "{bad:?}");
        assert_eq!(bad.parse::<VolumeName>(), Err(InvalidName::Grammar), "{bad:?}");
    }
    assert_eq!("demo".parse::<SnapshotName>(), Err(InvalidName::NotASnapshot));
    assert_eq!("demo".parse::<ExportName>().unwrap().volume().as_str(), "demo");
    assert_eq!("demo@s".parse::<ExportName>().unwrap().volume().as_str(), "demo");
}
