use super::*;

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("silt-place-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn only_names_of_volumes_and_snapshots_become_paths() {
    let longest = "a".repeat(63);
    for good in ["a", "0", "demo", "a.b-c_d", "a..b", "a@b", longest.as_str()] {
        assert!(Place::new(Path::new("/data"), good).is_ok(), "{good}");
    }
    let too_long = "a".repeat(64);
    for bad in ["", ".", "..", ".lock", "-a", "a/b", "../a", "A", "a b", "é", "a@..", "@a", "a@b/c", too_long.as_str()]
    {
        assert!(matches!(Place::new(Path::new("/data"), bad), Err(AttachError::BadName(_))), "{bad}");
    }
}

#[test]
fn a_place_is_held_until_its_helper_is_gone() {
    let data = scratch("held");
    let place = Place::new(&data, "demo").unwrap();
    place.create().unwrap();
    assert!(!place.is_held());
    let held = place.hold().unwrap();
    assert!(place.is_held());
    assert_eq!(fs::read_to_string(place.lock()).unwrap(), std::process::id().to_string());
    assert!(matches!(place.hold(), Err(AttachError::AlreadyAttached { .. })));
    drop(held);
    assert!(!place.is_held());
    place.remove().unwrap();
    assert!(!place.exists());
    fs::remove_dir_all(data).unwrap();
}

#[test]
fn the_state_round_trips_and_a_torn_one_counts_as_none() {
    let data = scratch("state");
    let place = Place::new(&data, "demo").unwrap();
    place.create().unwrap();
    assert_eq!(place.read_state().unwrap(), None);
    let device = PathBuf::from("/dev/loop7");
    let state = State { device, method: Method::Fuse, pid: 7, read_only: true, lost: false };
    place.write_state(&state).unwrap();
    assert_eq!(place.read_state().unwrap(), Some(state));
    fs::write(place.state(), b"{\"device\":\"/dev/lo").unwrap();
    assert_eq!(place.read_state().unwrap(), None);
    fs::remove_dir_all(data).unwrap();
}

#[test]
fn removing_never_empties_a_mounted_volume() {
    let data = scratch("remove");
    let place = Place::new(&data, "demo").unwrap();
    place.create().unwrap();
    fs::write(place.volume(), b"precious").unwrap();
    assert!(place.remove().is_err());
    assert_eq!(fs::read(place.volume()).unwrap(), b"precious");
    fs::remove_dir_all(data).unwrap();
}
