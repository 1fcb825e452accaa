use super::*;

fn parse(text: &str) -> Result<u64, InvalidSize> {
    text.parse::<Size>().map(|size| size.0)
}

#[test]
fn sizes_are_powers_of_two() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("4K", 4096),
        ("1.5k", 1536),
        ("10G", 10 << 30),
        ("10g", 10 << 30),
        ("10Gi", 10 << 30),
        ("10GiB", 10 << 30),
        ("1P", 1 << 50),
        ("0.25T", 1 << 38),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse(text), Ok(bytes), "{text}");
    }
}

#[test]
fn everything_else_is_refused() {
    for text in ["", "G", "-1", "1E", "1 G", "1GG", "1..5G", ".5G", "5.", "1GiBs", "x", "1e9", "1ä", "ä"] {
        assert_eq!(parse(text), Err(InvalidSize::Syntax), "{text}");
    }
    assert_eq!(parse("10GB"), Err(InvalidSize::Decimal));
    assert_eq!(parse("0.3K"), Err(InvalidSize::Fraction));
    assert_eq!(parse("18446744073709551616"), Err(InvalidSize::TooLarge));
    assert_eq!(parse("16384P"), Err(InvalidSize::TooLarge));
    for wrapping in
        ["302231455.000000000000000P", "1234567890.500000000000000P", "99999999999999999999.000000000000000P"]
    {
        assert_eq!(parse(wrapping), Err(InvalidSize::TooLarge), "{wrapping}");
    }
    assert_eq!(parse("999999999999999999999999999999999999999999"), Err(InvalidSize::TooLarge));
}

#[test]
fn sizes_print_in_their_largest_unit() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.50 KiB"),
        (10 << 30, "10 GiB"),
        ((10 << 30) + 1, "10.0 GiB"),
        (1 << 50, "1 PiB"),
        (u64::MAX, "16384.0 PiB"),
    ] {
        assert_eq!(human(bytes), text);
    }
}
