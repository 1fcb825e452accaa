use super::*;

#[test]
fn a_read_that_stops_off_the_alignment_is_at_the_end() {
    assert!(at_end(512, 512 + 100, 4096, 512));
    assert!(!at_end(512, 1024, 4096, 512), "short, but can go on");
    assert!(at_end(0, 1024, 4096, 512));
    assert!(!at_end(100, 100, 4096, 1), "buffered reads go on anywhere");
    assert!(!at_end(100, 100, 100, 512), "complete");
    assert!(!at_end(0, 0, 0, 1), "nothing was asked for");
}
