//! Commands that are run: `{ argv, user, timeout }`, and the same words in a check of type `script`.

use std::sync::Arc;
use std::time::Duration;

use super::checks::optional;
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::tree::Value;
use crate::model::Command;

/// Who runs commands where nobody is named.
pub(super) const DEFAULT_USER: &str = "nobody";
const MOST_ARGUMENTS: usize = 64;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads a command that is run when something changes.
pub(super) fn read_command(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Arc<Command>> {
    let Value::Table(table) = item.get_ref() else {
        reader.error(
            item.span().start,
            format!("`{key}` must be a table with a command"),
            format!("write {key} = {{ argv = [\"/usr/local/lib/tell-it\", \"loudly\"], user = \"nobody\", timeout = \"10s\" }}"),
        );
        return None;
    };
    let [argv, user, timeout] = reader.fields(table, Scope::Command);
    let user = optional(user, |item| read_user(reader, item));
    let timeout = optional(timeout, |item| reader.duration(item, "timeout", SHORTEST..=LONGEST));
    let Some(argv) = argv else {
        let hint = "write argv = [\"/usr/local/lib/tell-it\", \"loudly\"]";
        reader.missing(item.span().start, format!("`{key}` has no `argv`"), hint);
        return None;
    };
    let argv = read_argv(reader, argv);
    Some(Arc::new(Command {
        argv: argv?,
        user: user?.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        timeout: timeout?.unwrap_or(DEFAULT_TIMEOUT),
    }))
}

pub(super) fn read_argv(reader: &mut Reader, item: &Item<'_>) -> Option<Vec<String>> {
    let elements: Vec<_> = reader.one_or_list(item).collect();
    let mut argv = Vec::with_capacity(elements.len());
    for element in elements {
        argv.push(reader.string(element, "argv")?.to_owned());
    }
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let problem = if !program.starts_with('/') {
        format!("`argv` cannot start with \"{}\"", shorten(program))
    } else if argv.iter().any(|argument| argument.contains('\0')) {
        "an argument in `argv` has a NUL in it".to_owned()
    } else if argv.len() > MOST_ARGUMENTS {
        format!("`argv` has {} words, at most {MOST_ARGUMENTS} are possible", argv.len())
    } else {
        return Some(argv);
    };
    let hint = "the program's absolute path, then each argument: [\"/usr/local/lib/check-it\", \"--fast\"]";
    reader.error(item.span().start, problem, hint);
    None
}

pub(super) fn read_user(reader: &mut Reader, item: &Item<'_>) -> Option<String> {
    let name = reader.string(item, "user")?;
    if name.is_empty() || name.len() > 32 || name.contains(|letter: char| letter.is_control() || ": /".contains(letter))
    {
        let problem = format!("`user` cannot be \"{}\"", shorten(name));
        reader.error(item.span().start, problem, "a user's name, as in passwd(5)");
        return None;
    }
    Some(name.to_owned())
}
