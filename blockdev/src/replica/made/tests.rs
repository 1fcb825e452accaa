use super::*;

#[test]
fn a_record_is_known_by_its_place_in_memory_once() {
    let (one, other) = (Bytes::from(vec![1; 100]), Bytes::from(vec![1; 100]));
    let mut made = Made::default();
    made.note(&one);
    assert!(!made.take(&other), "equal bytes may have come from elsewhere");
    assert!(!made.take(&one.slice(..99)));
    assert!(made.take(&one.clone()));
    assert!(!made.take(&one));
}

#[test]
fn what_comes_before_one_that_was_taken_is_not_held() {
    let records = [1, 2, 3].map(|byte| Bytes::from(vec![byte; 10]));
    let mut made = Made::default();
    records.iter().for_each(|record| made.note(record));
    assert!(made.take(&records[1]));
    assert!(!made.take(&records[0]));
    assert_eq!(made.0.len(), 1);
    made.clear();
    assert!(!made.take(&records[2]));
}
