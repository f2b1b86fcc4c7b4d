//! A point in time by the calendar, for what is shown and kept; what decides goes by [`super::Instant`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01 in UTC. Shown and parsed as RFC 3339 has it: `2026-11-21T14:31:30.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

const DAY: u64 = 86_400_000;
/// The last millisecond of the year 9999, after which the text would have another form.
const LAST: u64 = 253_402_300_799_999;

impl UnixTime {
    /// So many milliseconds after the start of 1970; the year 9999 is the last.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(LAST))
    }

    /// Milliseconds since the start of 1970.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier`; zero where it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This long before; never before 1970.
    pub fn before(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// This long after.
    pub fn after(self, duration: Duration) -> Self {
        Self::from_millis(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01, and back, in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last one of a year.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year).saturating_sub(719_468)
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / DAY, self.0 % DAY);
        let (year, month, day) = date_of(days);
        let (seconds, millis) = (rest / 1000, rest % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// A text that is no time as [`UnixTime`] is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time (wanted: 2026-11-21T14:31:30.123Z)")]
pub struct ParseTimeError(pub String);

impl FromStr for UnixTime {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseTimeError(text.chars().take(40).collect());
        let form = b"0000-00-00T00:00:00.000Z";
        let bytes = text.as_bytes();
        let fits = |(found, wanted): (&u8, &u8)| match wanted {
            b'0' => found.is_ascii_digit(),
            other => found == other,
        };
        if bytes.len() != form.len() || !bytes.iter().zip(form).all(fits) {
            return Err(wrong());
        }
        let number = |from: usize, to: usize| {
            bytes[from..to]
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
        };
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let (hour, minute, second, millis) = (number(11, 13), number(14, 16), number(17, 19), number(20, 23));
        let days = (year >= 1970 && (1..=12).contains(&month) && day >= 1).then(|| days_of(year, month, day));
        let days = days
            .filter(|days| date_of(*days) == (year, month, day))
            .ok_or_else(wrong)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(wrong());
        }
        Ok(Self(days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + millis))
    }
}

impl Serialize for UnixTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_shown_as_the_calendar_has_them() {
        for (millis, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_000_000_000_000, "2001-09-09T01:46:40.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UnixTime::from_millis(millis).to_string(), wanted);
        }
    }

    #[test]
    fn days_that_are_not_in_the_calendar_are_refused() {
        for text in [
            "",
            "2026-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01 00:00:00.000Z",
        ] {
            text.parse::<UnixTime>().expect_err(text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_parsed(millis in 0..=LAST) {
            let time = UnixTime::from_millis(millis);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.-]{0,30}") {
            let _ = text.parse::<UnixTime>();
        }
    }
}
