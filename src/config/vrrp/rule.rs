//! One of the `rules` of an instance.

use super::super::checks::{optional, read_fwmark};
use super::super::reader::{Item, Reader};
use super::super::scope::Scope;
use super::super::tree::Value;
use super::route::{read_prefix, read_table};
use crate::model::{Family, PATH_MARKS, Prefix, VrrpRule};

/// The rules that the kernel begins with: its own addresses, then `main`, then `default`.
const OF_THE_KERNEL: [u32; 3] = [0, 32_766, 32_767];

pub(super) fn read_rule(reader: &mut Reader, item: &Item<'_>) -> Option<VrrpRule> {
    let at = item.span().start;
    let table = reader.table(item, "rules")?;
    let [from, to, iif, oif, fwmark, fwmask, family, table, priority] = reader.fields(table, Scope::VrrpRule);
    let selects = [from, to, iif, oif, fwmark].iter().any(Option::is_some);
    if !selects {
        let hint = "say at least one of `from`, `to`, `iif`, `oif`, `fwmark`; from = \"all\" for every packet";
        reader.missing(at, "the rule does not say which packets it is for", hint);
    }
    for (item, key, hint) in [
        (
            table,
            "table",
            "write the number of the table that they are looked up in: table = 100",
        ),
        (priority, "priority", "write priority = 1000: the lowest is asked first"),
    ] {
        if item.is_none() {
            reader.missing(at, format!("the rule has no `{key}`"), hint);
        }
    }
    let to_at = to.map_or(at, |item| item.span().start);
    let family_at = family.map_or(at, |item| item.span().start);
    let from = optional(from, |item| read_selector(reader, item, "from"));
    let to = optional(to, |item| read_selector(reader, item, "to"));
    let iif = optional(iif, |item| reader.device(item));
    let oif = optional(oif, |item| reader.device(item));
    let mask_at = fwmask.map_or(at, |item| item.span().start);
    let is_alone = fwmark.is_none() && fwmask.is_some();
    if is_alone {
        let text = "`fwmask` says nothing without `fwmark`";
        reader.error(mask_at, text, "say which mark: fwmark = 1");
    }
    let fwmark = optional(fwmark, |item| read_fwmark(reader, item));
    let fwmask = optional(fwmask, |item| reader.number(item, "fwmask", 1..=u32::MAX));
    let words = [("inet", Family::Inet), ("inet6", Family::Inet6)];
    let said = optional(family, |item| reader.word(item, "family", &words));
    let table = table.and_then(|item| read_table(reader, item));
    let priority = priority.and_then(|item| read_priority(reader, item));
    if !selects || is_alone {
        return None;
    }
    // What was said and cannot be used has been named.
    let (from, to) = (from?.flatten(), to?.flatten());
    let (iif, oif, fwmark, fwmask, said) = (iif?, oif?, fwmark?, fwmask?, said?);
    if let (Some(mark), Some(mask)) = (fwmark, fwmask)
        && mark & !mask != 0
    {
        let text = format!("`fwmark` {mark:#x} has bits that `fwmask` {mask:#x} leaves out");
        reader.error(mask_at, text, "take them out of the mark, or into the mask");
        return None;
    }
    if let (Some(mark), Some(mask)) = (fwmark, fwmask)
        && let Some(own) = PATH_MARKS.into_iter().find(|own| own & mask == mark)
    {
        let (first, last) = (PATH_MARKS.start(), PATH_MARKS.end());
        let text = format!("the rule is also for packets with the mark {own:#x}");
        let hint = format!(
            "{first:#x} to {last:#x} are ipvsd's own, for checks with via = \"path\": `fwmask` can leave them out"
        );
        reader.error(mask_at, text, hint);
        return None;
    }
    if let (Some(from), Some(to)) = (&from, &to)
        && from.family() != to.family()
    {
        let text = format!("`to` {to} is of another family than `from` {from}");
        reader.error(to_at, text, "a packet has one family: write a rule for each");
        return None;
    }
    let network = from.or(to);
    if let (Some(said), Some(network)) = (said, network)
        && said != network.family()
    {
        let text = format!("`family` {said} is not that of {network}");
        reader.error(family_at, text, "take `family` out: the addresses say it");
        return None;
    }
    Some(VrrpRule {
        family: network.map(|network| network.family()).or(said).unwrap_or(Family::Inet),
        priority: priority?,
        // The kernel knows everything by its absence.
        from: from.filter(|prefix| prefix.length != 0),
        to: to.filter(|prefix| prefix.length != 0),
        iif,
        oif,
        fwmark,
        // The kernel says of every mark that all bits count.
        fwmask: fwmask.filter(|mask| *mask != u32::MAX),
        table: table?,
    })
}

/// A network, a host, or `all`, which is of any family. The outer `None`: it cannot be used.
fn read_selector(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Option<Prefix>> {
    if let Value::String(_) = item.get_ref()
        && reader.string(item, key) == Some("all")
    {
        return Some(None);
    }
    read_prefix(reader, item, key).map(Some)
}

fn read_priority(reader: &mut Reader, item: &Item<'_>) -> Option<u32> {
    let number = reader.number(item, "priority", 0..=u32::MAX)?;
    if OF_THE_KERNEL.contains(&number) {
        let text = format!("`priority` cannot be {number}: a rule of the kernel's has it");
        let hint = "1 to 4294967295 but for 32766 and 32767; below 32766 it comes before the table `main`";
        reader.error(item.span().start, text, hint);
        return None;
    }
    Some(number)
}
