//! One event, one line.

use super::clock;
use crate::model::control::{EventRecord, Level};

/// Appends `2026-11-21 14:31:30Z warning web/192.0.2.11:80 is down: tcp: connection refused`.
pub fn event(out: &mut String, event: &EventRecord) {
    let level = match event.level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    // One that is of several lines stays one line.
    let text = event.text.replace('\n', "; ");
    out.push_str(&format!("{} {level:7} {text}\n", clock(event.time)));
}
