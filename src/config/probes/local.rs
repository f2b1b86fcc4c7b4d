//! The `script` and `file` types: what is found out on this host.

use super::super::hints::Scope;
use super::super::reader::{Item, Reader, shorten};
use super::super::tree::Table;
use super::{optional, path};
use crate::model::{FileProbe, ProbeKind, ScriptProbe};

/// Who runs scripts where nobody is named.
const DEFAULT_USER: &str = "nobody";
const MOST_ARGUMENTS: usize = 64;
const MISSING: [(&str, bool); 2] = [("down", false), ("up", true)];

pub(super) fn read_script(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let [argv, user, dynamic_weight] = reader.pick(table, Scope::ScriptKeys);
    let user = optional(user, |item| read_user(reader, item));
    let dynamic_weight = optional(dynamic_weight, |item| reader.boolean(item, "dynamic_weight"));
    let Some(argv) = argv else {
        let hint = "write argv = [\"/usr/local/lib/check-it\", \"--fast\"]";
        reader.missing(at, "the script has no `argv`", hint);
        return None;
    };
    let argv = read_argv(reader, argv);
    Some(ProbeKind::Script(ScriptProbe {
        argv: argv?,
        user: user?.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        dynamic_weight: dynamic_weight?.unwrap_or(false),
    }))
}

fn read_argv(reader: &mut Reader, item: &Item<'_>) -> Option<Vec<String>> {
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

fn read_user(reader: &mut Reader, item: &Item<'_>) -> Option<String> {
    let name = reader.string(item, "user")?;
    if name.is_empty() || name.len() > 32 || name.contains(|letter: char| letter.is_control() || ": /".contains(letter))
    {
        let problem = format!("`user` cannot be \"{}\"", shorten(name));
        reader.error(item.span().start, problem, "a user's name, as in passwd(5)");
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn read_file(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let [file, missing] = reader.pick(table, Scope::FileKeys);
    let missing = optional(missing, |item| reader.word(item, "missing", &MISSING));
    let Some(file) = file else {
        reader.missing(at, "the check has no `path`", "write path = \"/run/web-1.weight\"");
        return None;
    };
    let path = path(reader, file, "path");
    Some(ProbeKind::File(FileProbe {
        path: path?,
        missing_is_up: missing?.unwrap_or(false),
    }))
}
