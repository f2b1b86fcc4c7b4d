//! The commands of instances and groups: `notify_master` and its like.

use super::super::command::read_command;
use super::super::reader::{Item, Reader};
use crate::model::VrrpNotify;

/// The keys, in the order in which [`read`] takes their values.
const KEYS: [&str; 5] = [
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify",
];

/// Reads the commands; `None` where there is none.
pub(super) fn read(reader: &mut Reader, items: [Option<&Item<'_>>; 5]) -> Option<VrrpNotify> {
    let mut commands = items
        .into_iter()
        .zip(KEYS)
        .map(|(item, key)| read_command(reader, item?, key));
    let mut next = || commands.next().flatten();
    let notify = VrrpNotify {
        master: next(),
        backup: next(),
        fault: next(),
        stop: next(),
        any: next(),
    };
    (notify != VrrpNotify::default()).then_some(notify)
}
