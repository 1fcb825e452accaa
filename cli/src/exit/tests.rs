use anyhow::Context;

use super::*;

fn exit_of(error: impl Into<anyhow::Error>) -> Exit {
    Exit::from(kind_in(&error.into()))
}

#[test]
fn errors_have_their_exit_codes() {
    let failure = |kind| control::Error::from(Failure::new(kind, "m"));
    assert_eq!(exit_of(failure(Kind::NotFound)) as u8, 10);
    assert_eq!(exit_of(failure(Kind::Busy)) as u8, 11);
    assert_eq!(exit_of(failure(Kind::Corrupt)) as u8, 3);
    assert_eq!(exit_of(failure(Kind::Invalid)) as u8, 2);
    assert_eq!(exit_of(failure(Kind::OutOfSpace)) as u8, 1);
    assert_eq!(exit_of(StoreError::Locked) as u8, 11);
    assert_eq!(exit_of(StoreError::NoStore) as u8, 10);
    assert_eq!(exit_of(NodeError::NoSuchVolume("x".into())) as u8, 10);
    assert_eq!(exit_of(Complaint::new(Kind::Busy, "m")) as u8, 11);
    assert_eq!(exit_of(io::Error::other("x")) as u8, 1);
}

#[test]
fn context_does_not_hide_the_kind() {
    let error = Err::<(), _>(StoreError::Locked).context("opening the store").context("creating a volume").unwrap_err();
    assert_eq!(Exit::from(kind_in(&error)), Exit::Busy);
}
