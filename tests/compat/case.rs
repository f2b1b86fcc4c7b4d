//! The cases: text files of `tests/compat/cases`, one a group.
//!
//! A line is a keyword and words, separated by spaces; `'…'` holds spaces together and makes an empty word. `#` starts
//! a comment line. Before the first case stand the lines that all of the file's cases begin with.
//!
//! | line | means |
//! |---|---|
//! | `given ARGUMENTS` | what was there before, written by the original: one command line of ipvsadm |
//! | `needs device` | the namespace has `eth0`, up, with addresses |
//! | `reads` | the script changes nothing: both subjects look at one table (and its order is one order) |
//! | `case TITLE` | a case begins |
//! | `run CODE ARGUMENTS` | a command line of ipvsadm under test and the exit code of the original, a signal negated |
//! | `save CODE ARGUMENTS`, `restore CODE ARGUMENTS` | the same of ipvsadm-save and ipvsadm-restore |
//! | `in TEXT` | a line of the input of the command before, as it is |
//! | `differs CODE REASON` | ours ends the command before with this code instead, knowingly |
//! | `out TEXT`, `err TEXT` | and writes these lines |
//! | `table differs REASON` | and so leaves another table |
//! | `save differs REASON` | what is left is saved otherwise by ours |

use std::fs;
use std::path::Path;

use crate::subject::Program;

/// One case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// File and line.
    pub(crate) place: String,
    pub(crate) title: String,
    pub(crate) given: Vec<String>,
    pub(crate) needs_device: bool,
    pub(crate) reads: bool,
    pub(crate) commands: Vec<Command>,
    pub(crate) table_differs: Option<String>,
    pub(crate) save_differs: Option<String>,
}

/// One command under test.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) program: Program,
    /// Of the original.
    pub(crate) code: i32,
    pub(crate) arguments: Vec<String>,
    pub(crate) input: String,
    pub(crate) differs: Option<Difference>,
}

/// What ours knowingly does otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The cases of one file.
pub(crate) fn read(path: &Path) -> Vec<Case> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    let mut cases = parse(&name, &text);
    // The first holds what all begin with.
    cases.remove(0);
    for case in &cases {
        assert!(!case.commands.is_empty(), "{}: a case without a command", case.place);
    }
    cases
}

fn parse(name: &str, text: &str) -> Vec<Case> {
    let mut cases = vec![Case {
        place: name.to_owned(),
        title: String::new(),
        given: Vec::new(),
        needs_device: false,
        reads: false,
        commands: Vec::new(),
        table_differs: None,
        save_differs: None,
    }];
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{name}:{}", number + 1);
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        if keyword == "case" {
            cases.push(Case {
                place,
                title: rest.to_owned(),
                ..cases[0].clone()
            });
            continue;
        }
        let case = cases.last_mut().expect("one");
        if understand(case, keyword, rest).is_none() {
            panic!("{place}: cannot understand `{line}`");
        }
    }
    cases
}

/// Takes one line into a case; `None` where it makes no sense.
fn understand(case: &mut Case, keyword: &str, rest: &str) -> Option<()> {
    let program = match keyword {
        "given" => {
            case.given.push(rest.to_owned());
            return Some(());
        }
        "needs" if rest == "device" => {
            case.needs_device = true;
            return Some(());
        }
        "reads" if rest.is_empty() => {
            case.reads = true;
            return Some(());
        }
        "table" => {
            case.table_differs = Some(rest.strip_prefix("differs ")?.to_owned());
            return Some(());
        }
        "save" if rest.starts_with("differs ") => {
            case.save_differs = Some(rest.strip_prefix("differs ")?.to_owned());
            return Some(());
        }
        "in" => {
            let command = case.commands.last_mut()?;
            command.input.push_str(rest);
            command.input.push('\n');
            return Some(());
        }
        "differs" => {
            let (code, reason) = rest.split_once(' ')?;
            case.commands.last_mut()?.differs = Some(Difference {
                code: code.parse().ok()?,
                reason: reason.to_owned(),
                stdout: String::new(),
                stderr: String::new(),
            });
            return Some(());
        }
        "out" | "err" => {
            let difference = case.commands.last_mut()?.differs.as_mut()?;
            let text = if keyword == "out" {
                &mut difference.stdout
            } else {
                &mut difference.stderr
            };
            text.push_str(rest);
            text.push('\n');
            return Some(());
        }
        "run" => Program::Ipvsadm,
        "save" => Program::Save,
        "restore" => Program::Restore,
        _ => return None,
    };
    let (code, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
    case.commands.push(Command {
        program,
        code: code.parse().ok()?,
        arguments: words(arguments)?,
        input: String::new(),
        differs: None,
    });
    Some(())
}

/// Divides at spaces outside of quotes; `None` where a quote is left open.
pub(crate) fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for character in text.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}
