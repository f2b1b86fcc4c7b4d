//! What is written in a mail.

use crate::model::control::{EventRecord, Level};

/// The most events that a mail tells one by one.
const MOST: usize = 200;
/// The most characters of a subject.
const LONGEST_SUBJECT: usize = 150;

/// The subject and the text of a mail about these events, of which there is one at least; `lost`: how many more there
/// were that could not wait.
pub(super) fn compose(host: &str, events: &[impl AsRef<EventRecord>], lost: u64) -> (String, String) {
    let worst = events.iter().map(AsRef::as_ref).max_by(|one, other| {
        // Of what matters alike, the first one is the cause.
        one.level.cmp(&other.level).then(other.number.cmp(&one.number))
    });
    let headline = worst.map_or("", |event| event.text.as_str());
    let more = match events.len() {
        0 | 1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    let start = format!("[ipvsd {host}] ");
    let room = LONGEST_SUBJECT.saturating_sub(start.chars().count() + more.chars().count());
    let headline: String = match headline.chars().count() > room {
        true => headline.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
        false => headline.to_owned(),
    };
    let mut text = String::new();
    for event in events.iter().take(MOST).map(AsRef::as_ref) {
        let level = match event.level {
            Level::Info => "",
            Level::Warning => "warning: ",
            Level::Error => "error: ",
        };
        text.push_str(&format!("{}  {level}{}\n", event.time, event.text));
        if let Some(cause) = event.cause.as_ref().filter(|cause| !event.text.contains(*cause)) {
            text.push_str(&format!("    {cause}\n"));
        }
    }
    if events.len() > MOST {
        text.push_str(&format!("and {} more (ipvsd events)\n", events.len() - MOST));
    }
    if lost > 0 {
        text.push_str(&format!(
            "left out, for too many waited to be told: {lost} more (ipvsd events)\n"
        ));
    }
    (format!("{start}{headline}{more}"), text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::UnixTime;
    use crate::model::control::EventKind;

    fn event(number: u64, level: Level, text: &str) -> Arc<EventRecord> {
        let time = UnixTime::from_millis(1_700_000_000_000 + number * 1000);
        Arc::new(EventRecord {
            number,
            ..EventRecord::new(time, EventKind::Server, level, text.to_owned())
        })
    }

    #[test]
    fn the_subject_says_what_matters_most_and_the_text_everything() {
        let events = [
            event(1, Level::Info, "one is up"),
            event(2, Level::Error, "nobody is left"),
            event(3, Level::Error, "nor here"),
        ];
        let (subject, text) = compose("lb1", &events, 2);
        assert_eq!(subject, "[ipvsd lb1] nobody is left (and 2 more)");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].ends_with("  one is up") && lines[1].ends_with("  error: nobody is left"));
        assert!(
            lines[3].ends_with("too many waited to be told: 2 more (ipvsd events)"),
            "{text}"
        );
    }

    #[test]
    fn neither_subject_nor_text_grows_without_end() {
        let long = "ä".repeat(1000);
        let events: Vec<_> = (0..1000).map(|number| event(number, Level::Info, &long)).collect();
        let (subject, text) = compose("lb1", &events, 0);
        assert_eq!(subject.chars().count(), LONGEST_SUBJECT);
        assert_eq!(text.lines().count(), MOST + 1);
    }
}
