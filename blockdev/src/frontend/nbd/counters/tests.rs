//! Buckets and sums.

use super::*;

#[test]
fn requests_are_counted_by_kind_and_latency() {
    let counters = Counters::default();
    let received_at = Duration::from_secs(1);
    for (latency_us, failed) in [(16, false), (17, false), (2_000_000, true)] {
        let finished = Finished { kind: Kind::Write, bytes: 512, failed, received_at };
        counters.record(&finished, received_at + Duration::from_micros(latency_us));
    }
    let sum = Counters::default();
    sum.absorb(&counters);
    sum.absorb(&counters);
    for (counters, times) in [(&counters, 1), (&sum, 2)] {
        let writes = counters.kind(Kind::Write);
        assert_eq!(writes.ops.load(Relaxed), 3 * times);
        assert_eq!(writes.bytes.load(Relaxed), 1024 * times, "a failed request moved nothing");
        assert_eq!(writes.errors.load(Relaxed), times);
        assert_eq!(writes.latency_us_sum.load(Relaxed), 2_000_033 * times);
        let buckets = writes.latency_buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        assert_eq!(buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1].map(|count| count * times));
        assert_eq!(counters.kind(Kind::Read).ops.load(Relaxed), 0);
    }
}

#[test]
fn kinds_are_numbered_in_order() {
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, index);
    }
}
