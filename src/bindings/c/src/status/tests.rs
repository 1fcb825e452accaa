use super::*;

fn message() -> String {
    // SAFETY: it is a text that ends in a zero, and this thread makes no other before it was copied.
    unsafe { CStr::from_ptr(silt_error_message()) }.to_str().unwrap().to_owned()
}

fn name(status: i32) -> String {
    // SAFETY: it is a text that ends in a zero and stays for good.
    unsafe { CStr::from_ptr(silt_status_name(status)) }.to_str().unwrap().to_owned()
}

#[test]
fn failures_leave_a_message_with_their_thread() {
    assert_eq!(message(), "");
    assert_eq!(guard(|| Err(Failure::invalid("a\0b"))), Status::Invalid);
    assert_eq!(message(), "a?b");
    assert_eq!(guard(|| Ok(())), Status::Ok);
    assert_eq!(message(), "a?b", "what succeeds says nothing");
    assert_eq!(std::thread::spawn(message).join().unwrap(), "", "other threads have their own");
}

#[test]
fn nothing_unwinds_to_the_caller() {
    assert_eq!(guard(|| panic!("block {} is odd", 3)), Status::Other);
    assert_eq!(message(), "a defect: block 3 is odd");
    assert_eq!(guard_or(|| std::panic::panic_any(7)), Status::Other);
    assert_eq!(message(), "a defect: a panic without words");
}

#[test]
fn every_code_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = ALL.into_iter().map(|status| name(status as i32)).collect();
    assert_eq!(names.len(), ALL.len());
    assert_eq!((name(-1).as_str(), name(-1000).as_str()), ("not found", "other error"));
}

#[test]
fn sources_are_part_of_the_message() {
    let error = siltstone::Options::new().open("/dev/null/nowhere").unwrap_err();
    let failure = Failure::from(error);
    assert!(failure.message.contains("/dev/null/nowhere"), "{failure:?}");
    assert!(failure.message.contains("ot a directory"), "{failure:?}");
}
