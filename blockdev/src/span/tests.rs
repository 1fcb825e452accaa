use super::*;

#[test]
fn spans_are_read_and_written() {
    for (text, seconds) in [("1s", 1), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("4w", 2_419_200)] {
        assert_eq!(text.parse(), Span::from_seconds(seconds), "{text}");
    }
    let written = [("60s", "1m"), ("61s", "61s"), ("24h", "1d"), ("7d", "1w"), ("8d", "8d"), ("3600m", "60h")];
    for (text, short) in written {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), short);
    }
}

#[test]
fn what_is_no_span_is_refused() {
    for text in ["", "s", "1", "1y", "1 s", "1.5h", "-1s", "+1s", "1S", "1h30m", "m1"] {
        assert_eq!(text.parse::<Span>(), Err(InvalidSpan::Syntax), "{text}");
    }
    for text in ["0s", "0w", "60000w", "99999999999999999999s", "18446744073709551615w"] {
        assert_eq!(text.parse::<Span>(), Err(InvalidSpan::Bounds), "{text}");
    }
}
