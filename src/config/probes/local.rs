//! The `script` and `file` types: what is found out on this host.

use super::super::command::{DEFAULT_USER, read_argv, read_user};
use super::super::reader::Reader;
use super::super::scope::Scope;
use super::super::tree::Table;
use super::{optional, path};
use crate::model::{FileProbe, ProbeKind, ScriptProbe};

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
