//! Durations with a unit: `"2s"`, `"300ms"`, `"15m"`, `"1h"`, `"1d"`.

use std::time::Duration;

/// Reads a whole number with a unit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// Shows a duration as the configuration writes it.
pub(super) fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if milliseconds != 0 && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_whole_number_and_a_unit() {
        for (text, milliseconds) in [
            ("2s", Some(2000)),
            ("300ms", Some(300)),
            ("15m", Some(900_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("2", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("2 s", None),
            ("1S", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse(text), milliseconds.map(Duration::from_millis), "{text}");
        }
        assert_eq!(show(Duration::from_secs(90)), "90s");
        assert_eq!(show(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show(Duration::ZERO), "0ms");
    }
}
