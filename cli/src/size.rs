//! Sizes as people write and read them. `10G` is 10 GiB, as for `rbd`, `lvcreate` and `zfs`.

use std::str::FromStr;

/// A size from the command line, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) u64);

/// What is wrong with a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InvalidSize {
    Syntax,
    Decimal,
    Fraction,
    TooLarge,
}

const UNITS: [(&str, u32); 5] = [("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50)];

impl std::fmt::Display for InvalidSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Syntax => "write bytes, or a number with K, M, G, T or P (10G is 10 GiB)",
            Self::Decimal => "decimal units are not known here: write 10G or 10GiB for 10 x 2^30 bytes, or plain bytes",
            Self::Fraction => "that is not a whole number of bytes",
            Self::TooLarge => "that is more than 16 EiB",
        })
    }
}

impl std::error::Error for InvalidSize {}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = unit_shift(unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| text.parse::<u128>().map_err(|_| InvalidSize::Syntax);
        if whole.len() > 20 || fraction.len() > 15 {
            return Err(InvalidSize::TooLarge);
        }
        let scale = 10u128.pow(fraction.len() as u32);
        let unscaled = digits(whole)? * scale + digits(fraction)?;
        if unscaled.leading_zeros() < shift {
            return Err(InvalidSize::TooLarge);
        }
        let scaled = unscaled << shift;
        if !scaled.is_multiple_of(scale) {
            return Err(InvalidSize::Fraction);
        }
        u64::try_from(scaled / scale).map(Self).map_err(|_| InvalidSize::TooLarge)
    }
}

fn unit_shift(unit: &str) -> Result<u32, InvalidSize> {
    let unit = unit.to_ascii_uppercase();
    if unit.is_empty() || unit == "B" {
        return Ok(0);
    }
    let (letter, rest) = unit.split_at_checked(1).ok_or(InvalidSize::Syntax)?;
    let (_, shift) = UNITS.into_iter().find(|(name, _)| *name == letter).ok_or(InvalidSize::Syntax)?;
    match rest {
        "" | "I" | "IB" => Ok(shift),
        "B" => Err(InvalidSize::Decimal),
        _ => Err(InvalidSize::Syntax),
    }
}

/// Bytes for people: `10 GiB`, `1.5 MiB`, `512 B`.
pub(crate) fn human(bytes: u64) -> String {
    let unit = UNITS.into_iter().rev().find(|(_, shift)| bytes >> shift > 0);
    let Some((name, shift)) = unit else { return format!("{bytes} B") };
    if bytes.trailing_zeros() >= shift {
        return format!("{} {name}iB", bytes >> shift);
    }
    let value = bytes as f64 / (1u64 << shift) as f64;
    let decimals = if value < 10.0 { 2 } else { 1 };
    format!("{value:.decimals$} {name}iB")
}

#[cfg(test)]
mod tests;
