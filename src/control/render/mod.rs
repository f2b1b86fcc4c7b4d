//! The daemon's answers as text: columns and sentences for a person at a terminal.
//!
//! Pure; appends to a buffer. Machines read the documents themselves (`--json`).

mod event;
mod peer;
mod plan;
mod status;
mod why;

use std::time::Duration;

pub use event::event;
pub use peer::peer;
pub use plan::plan;
pub use status::{changed, paused, status};
pub use why::why;

use crate::model::UnixTime;

/// How long ago, in at most two units: `0s`, `47s`, `3m12s`, `2h`, `5d4h`.
fn ago(time: UnixTime, now: UnixTime) -> String {
    span(now.since(time))
}

fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (great, unit, small, smaller) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3600 => (seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => (seconds / 3600, "h", seconds / 60 % 60, "m"),
        _ => (seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    };
    match small {
        0 => format!("{great}{unit}"),
        small => format!("{great}{unit}{small}{smaller}"),
    }
}

/// A time for people, without its fraction: `2026-11-21 14:31:30Z`.
fn clock(time: UnixTime) -> String {
    let text = time.to_string();
    format!("{} {}Z", &text[..10], &text[11..19])
}

/// `1 server`, `2 servers`.
fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// Rows under their headings, every column as wide as its widest cell; the last one runs free.
#[derive(Default)]
struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    fn headed(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
        }
    }

    fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    fn render(&self, out: &mut String, indent: &str) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_two_units_at_most() {
        for (seconds, wanted) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (192, "3m12s"),
            (7200, "2h"),
            (7265, "2h1m"),
            (86_400, "1d"),
            (446_399, "5d3h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), wanted);
        }
    }
}
