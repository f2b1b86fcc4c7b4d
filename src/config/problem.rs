//! Problems of a configuration as values: where, how bad, what, and what to do about it.
//!
//! While a configuration is read, findings keep only a file and a byte offset; lines and columns are worked out once
//! at the end and only for the problems that are shown. The number shown is bounded, so that noise costs no more than
//! a page of it.

use std::fmt;

use serde::Serialize;

/// How many errors, and how many warnings, are shown; the rest is counted.
const SHOWN: usize = 100;

/// How many findings of one severity are kept until they are sorted by their place.
const KEPT: usize = 1000;

/// The most characters of a message or a hint.
const LONGEST: usize = 400;

/// Whether a problem keeps a configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// The configuration is used; somebody should look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem, shown as `file:line:column: error: text (hint)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named by whoever read it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// What is wrong, on one line.
    pub text: String,
    /// What to do about it, where more can be said.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            severity,
            text,
            hint,
        } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {text}")?;
        match hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Every problem of a configuration in the order of its files, at most 100 errors and 100 warnings of them.
///
/// Shown one a line, with `and N more problems` at the end where there are more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Problems {
    /// The problems shown.
    pub shown: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl Problems {
    /// Whether there is no problem at all.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The problems that are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.shown.iter()
    }

    /// Whether one of them keeps the configuration from being used.
    pub fn has_errors(&self) -> bool {
        self.shown.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.shown.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.more {
            0 => Ok(()),
            1 => f.write_str("\nand 1 more problem"),
            more => write!(f, "\nand {more} more problems"),
        }
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A place in the sources: a file by its number, and a byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) offset: usize,
}

/// What a finding rests on; it decides whether a broken file makes it worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// The text is no TOML.
    Syntax,
    /// Something that is written.
    Written,
    /// Something that is not there; it may stand in a part that could not be read.
    Absent,
}

struct Finding {
    place: Place,
    severity: Severity,
    ground: Ground,
    text: String,
    hint: String,
    /// Another place that the problem is about: where the first of two stands.
    first: Option<Place>,
}

/// Where findings are put down while the configuration is read.
#[derive(Default)]
pub(super) struct Ledger {
    findings: Vec<Finding>,
    errors: usize,
    warnings: usize,
    /// A part of the configuration could not be read.
    incomplete: bool,
}

impl Ledger {
    /// Puts down one finding; an empty hint is none.
    pub(super) fn add(&mut self, place: Place, severity: Severity, ground: Ground, text: String, hint: String) {
        self.add_finding(Finding {
            place,
            severity,
            ground,
            text,
            hint,
            first: None,
        });
    }

    /// Puts down that something stands twice; the hint ends with the place of the first.
    pub(super) fn add_second(&mut self, place: Place, first: Place, text: String, hint: String) {
        self.add_finding(Finding {
            place,
            severity: Severity::Error,
            ground: Ground::Written,
            text,
            hint,
            first: Some(first),
        });
    }

    fn add_finding(&mut self, finding: Finding) {
        let count = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        self.incomplete |= finding.ground == Ground::Syntax;
        if *count <= KEPT {
            self.findings.push(finding);
        }
    }

    /// Takes in what was put down beside.
    pub(super) fn append(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.errors += other.errors;
        self.warnings += other.warnings;
        self.incomplete |= other.incomplete;
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// Says that a part could not be read, so that nothing is made of what is missing.
    pub(super) fn mark_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Sorts the findings, drops those that a broken part explains, and works out lines and columns.
    ///
    /// `files` are the names and contents that the places count in.
    pub(super) fn finish(self, files: &[(&str, &[u8])]) -> Problems {
        let mut total = self.errors + self.warnings;
        let mut findings = self.findings;
        findings.sort_by_key(|finding| (finding.place, finding.severity));
        let mut located = Vec::with_capacity(findings.len());
        let mut cursor = Cursor::default();
        for finding in findings {
            let (line, column) = cursor.locate(files, finding.place);
            located.push((line, column, finding));
        }
        if self.incomplete {
            let broken: Vec<_> = located
                .iter()
                .filter(|(_, _, finding)| finding.ground == Ground::Syntax)
                .map(|(line, _, finding)| (finding.place.file, *line))
                .collect();
            located.retain(|(line, _, finding)| {
                let keep = match finding.ground {
                    Ground::Syntax => true,
                    Ground::Written => broken.binary_search(&(finding.place.file, *line)).is_err(),
                    Ground::Absent => false,
                };
                total -= usize::from(!keep);
                keep
            });
        }
        let mut room = [SHOWN, SHOWN];
        let shown: Vec<_> = located
            .into_iter()
            .filter(|(_, _, finding)| {
                let left = &mut room[usize::from(finding.severity == Severity::Warning)];
                let keep = *left > 0;
                *left -= usize::from(keep);
                keep
            })
            .map(|(line, column, mut finding)| {
                if let Some(first) = finding.first {
                    let (line, _) = Cursor::default().locate(files, first);
                    let name = files.get(first.file).map_or("", |(name, _)| name);
                    let gap = if finding.hint.is_empty() { "" } else { "; " };
                    finding.hint = format!("{}{gap}the first is at {name}:{line}", finding.hint);
                }
                (line, column, finding)
            })
            .map(|(line, column, finding)| Problem {
                file: files.get(finding.place.file).map_or("", |(name, _)| name).to_owned(),
                line,
                column,
                severity: finding.severity,
                text: printable(finding.text),
                hint: (!finding.hint.is_empty()).then(|| printable(finding.hint)),
            })
            .collect();
        Problems {
            more: total.saturating_sub(shown.len()),
            shown,
        }
    }
}

/// A message with pieces of the file in it as a terminal can take it: one line, no control characters, a bounded length.
fn printable(text: String) -> String {
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

/// Walks forward through the files, counting lines.
#[derive(Default)]
struct Cursor {
    file: usize,
    line: usize,
    line_start: usize,
    offset: usize,
}

impl Cursor {
    /// Line and column of a place that does not lie before the last one.
    fn locate(&mut self, files: &[(&str, &[u8])], place: Place) -> (usize, usize) {
        if place.file != self.file {
            *self = Self {
                file: place.file,
                ..Self::default()
            };
        }
        let bytes = files.get(place.file).map_or(&[][..], |(_, bytes)| bytes);
        let offset = place.offset.min(bytes.len());
        for (index, byte) in bytes.iter().enumerate().take(offset).skip(self.offset) {
            if *byte == b'\n' {
                self.line += 1;
                self.line_start = index + 1;
            }
        }
        self.offset = self.offset.max(offset);
        let before = bytes.get(self.line_start..offset).unwrap_or_default();
        let characters = before.iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
        (self.line + 1, characters + 1)
    }
}
