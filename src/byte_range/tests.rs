use std::ops::Bound;

use super::ByteRange;
use crate::ErrorKind;
use crate::error::Error;

#[test]
fn bounds_of_all_kinds_are_bytes() {
    let within = |range: ByteRange| range.within("disk", 100).unwrap();
    assert_eq!(within(ByteRange::new(..)), 0..100);
    assert_eq!(within(ByteRange::new(10..20)), 10..20);
    assert_eq!(within(ByteRange::new(10..=20)), 10..21);
    assert_eq!(within(ByteRange::new(..=99)), 0..100);
    assert_eq!(within(ByteRange::new(100..)), 100..100);
    assert_eq!(within(ByteRange::new((Bound::Excluded(10), Bound::Unbounded))), 11..100);
    #[expect(clippy::reversed_empty_ranges, reason = "callers may ask so")]
    let reversed = ByteRange::new(20..10);
    assert_eq!(within(reversed), 20..20);
}

#[test]
fn nothing_lies_beyond_the_end() {
    for range in
        [ByteRange::new(..101), ByteRange::new(101..), ByteRange::new(0..=u64::MAX), ByteRange::new(u64::MAX..)]
    {
        let error = Error::from(range.within("disk", 100).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
