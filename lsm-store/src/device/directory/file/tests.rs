use super::*;

fn bytes(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

#[test]
fn remaining_starts_where_a_short_write_stopped() {
    let bufs = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"defg")];
    for skip in 0..7 {
        assert_eq!(bytes(&remaining(&bufs, skip)), b"abcdefg"[skip..]);
    }
}

#[test]
fn remaining_never_asks_for_more_slices_than_the_kernel_takes() {
    let bufs = vec![IoSlice::new(b"x"); SLICES_MAX + 10];
    assert_eq!(remaining(&bufs, 3).len(), SLICES_MAX);
    assert_eq!(remaining(&bufs, 20).len(), SLICES_MAX - 10);
}
