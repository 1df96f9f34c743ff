//! Durations as Go writes them (`1h30m`, `300ms`) and sizes in bytes (`10MB`, `64KiB`).

use std::time::Duration;

/// Why a text is not a duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// A number without a unit. Go reads nanoseconds, and people mean seconds.
    #[error("{0} has no unit; write \"{0}s\" if seconds are meant")]
    NoUnit(String),
    /// Not a duration.
    #[error("{0:?} is not a duration; write it as \"30s\", \"5m\" or \"1h30m\" (units: ns, us, ms, s, m, h)")]
    NotADuration(String),
    /// Not a size.
    #[error("{0:?} is not a size; write bytes, or \"512KiB\", \"10MB\", \"1GiB\"")]
    NotASize(String),
}

/// The nanoseconds of a unit, by Go's names (time.ParseDuration).
fn nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Parses a duration as Go's time.ParseDuration does, but no negative one.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits_only && text.bytes().any(|b| b != b'0') {
        return Err(QuantityError::NoUnit(text.to_owned()));
    }
    if digits_only {
        return Ok(Duration::ZERO);
    }
    total_of_terms(text.strip_prefix('+').unwrap_or(text)).ok_or_else(|| QuantityError::NotADuration(text.to_owned()))
}

/// The sum of terms such as `1h` and `1.5s`; `None` if a term is malformed or the sum exceeds a Duration.
fn total_of_terms(mut rest: &str) -> Option<Duration> {
    let mut total: u128 = 0;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(term(number, nanoseconds(unit)?)?)?;
        if after.is_empty() {
            let nanoseconds = u32::try_from(total % 1_000_000_000).ok()?;
            return Some(Duration::new(u64::try_from(total / 1_000_000_000).ok()?, nanoseconds));
        }
        rest = after;
    }
}

/// `number` times `unit`, rounded down; `None` if it is not a number or too large.
fn term(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()?.checked_mul(unit)? };
    // An hour has 3.6e12 nanoseconds, so further digits of a fraction change nothing.
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? * unit / scale };
    whole.checked_add(fraction)
}

/// Parses a size: a number with a unit of powers of 1000 (`kB`, `MB`, `GB`) or 1024 (`KiB`, `MiB`, `GiB`), in any case.
pub(super) fn size(text: &str) -> Result<u64, QuantityError> {
    let not_a_size = || QuantityError::NotASize(text.to_owned());
    let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000 * 1000,
        "g" | "gb" => 1000 * 1000 * 1000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return Err(not_a_size()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(not_a_size)
}
