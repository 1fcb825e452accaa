use super::{RANGE_BYTES_MIN, RANGES_MAX, ranges_of};

#[test]
fn ranges_cover_a_volume_without_gaps() {
    for size_bytes in [1, 4096, RANGE_BYTES_MIN, RANGE_BYTES_MIN + 1, (16 << 30) + 5, 1 << 40, 1 << 50] {
        let ranges: Vec<_> = ranges_of(size_bytes).map(|range| range.unwrap()).collect();
        assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, size_bytes));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{size_bytes}");
        assert!(
            ranges.iter().all(|range| !range.is_empty() && range.start.is_multiple_of(RANGE_BYTES_MIN)),
            "{size_bytes}"
        );
        assert!(ranges.len() as u64 <= RANGES_MAX, "{size_bytes}");
    }
}
