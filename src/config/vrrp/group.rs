//! `[[vrrp_sync_group]]`.

use super::super::reader::{Item, Reader, shorten};
use super::super::scope::Scope;
use super::{Routers, notify};
use crate::model::VrrpSyncGroup;

impl<'t> Routers<'t> {
    /// Takes in the groups of one file; all instances are known by now.
    pub(in super::super) fn read_groups(&mut self, reader: &mut Reader, item: &'t Item<'_>) {
        for (at, table) in reader.tables(item, "vrrp_sync_group") {
            let [name, instances, master, backup, fault, stop, any] = reader.fields(table, Scope::VrrpSyncGroup);
            let notify = notify::read(reader, [master, backup, fault, stop, any]).unwrap_or_default();
            let name = match name {
                Some(item) => reader
                    .name(item, "vrrp_sync_groups", &mut self.group_names)
                    .unwrap_or_default(),
                None => {
                    reader.missing(at, "the vrrp_sync_group has no `name`", "write name = \"VG_1\"");
                    continue;
                }
            };
            let Some(item) = instances else {
                let hint = "write instances = [\"VI_1\", \"VI_2\"]";
                reader.missing(at, "the vrrp_sync_group has no `instances`", hint);
                continue;
            };
            let mut members: Vec<String> = Vec::new();
            for element in reader.one_or_list(item) {
                let Some(member) = reader.string(element, "instances") else {
                    continue;
                };
                let at = element.span().start;
                if !self.drafts.iter().any(|draft| draft.spec.name == member) {
                    let text = format!("there is no vrrp_instance \"{}\"", shorten(member));
                    reader.error(at, text, "a group names instances by their `name`");
                } else if let Some(first) = self.grouped.get(member) {
                    let text = format!("vrrp_instance \"{member}\" is in two places of groups");
                    reader.second(at, *first, text, "each instance is in one group, once");
                } else {
                    self.grouped.insert(member.to_owned(), reader.place(at));
                    members.push(member.to_owned());
                }
            }
            let priorities = self.drafts.iter().filter(|draft| members.contains(&draft.spec.name));
            let mut priorities: Vec<u8> = priorities.map(|draft| draft.spec.priority).collect();
            priorities.sort_unstable();
            priorities.dedup();
            if priorities.len() > 1 {
                let text = format!("the instances of \"{name}\" have different priorities");
                let hint = "they move together: give them one priority, or two directors may never agree";
                reader.warning(item.span().start, text, hint);
            }
            if members.len() == 1 {
                let text = format!("group \"{name}\" has one instance only");
                reader.warning(item.span().start, text, "a group binds two or more");
            }
            self.groups.push(VrrpSyncGroup {
                name,
                instances: members,
                notify,
            });
        }
    }
}
