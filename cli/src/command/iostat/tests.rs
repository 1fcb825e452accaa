use super::*;

#[test]
fn rates_are_per_second_and_latencies_means() {
    let before = OperationCounters { requests_total: 10, bytes_total: 1000, errors_total: 1, latency_us_total: 50 };
    let now = OperationCounters { requests_total: 30, bytes_total: 9000, errors_total: 4, latency_us_total: 250 };
    let expected = Rates { requests_per_second: 10.0, bytes_per_second: 4000.0, latency_us_mean: 10.0, errors: 3 };
    assert_eq!(rates(before, now, 2_000_000), expected);
    assert_eq!(rates(now, now, 2_000_000), Rates::default());
}

#[test]
fn a_volume_that_was_made_anew_counts_from_zero() {
    let old = OperationCounters { requests_total: 100, bytes_total: 100, errors_total: 100, latency_us_total: 100 };
    let new = OperationCounters { requests_total: 5, bytes_total: 500, errors_total: 0, latency_us_total: 10 };
    assert_eq!(rates(old, new, 1_000_000).bytes_per_second, 500.0);
}
