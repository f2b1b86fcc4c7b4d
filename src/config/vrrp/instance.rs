//! Single keys of `[[vrrp_instance]]` that have rules of their own.

use std::time::Duration;

use super::super::duration;
use super::super::reader::{Item, Reader};
use crate::model::{Family, VrrpPassword, VrrpSpec, VrrpVersion};

/// The most bytes of a password (RFC 2338, 5.3.10).
const LONGEST_PASSWORD: usize = 8;
/// Adverts of version 3 count hundredths of a second in 12 bits, those of version 2 seconds in 8.
const INTERVALS_V3: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(40_950));
const INTERVALS_V2: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(255));

pub(super) fn read_interval(reader: &mut Reader, item: &Item<'_>, version: VrrpVersion) -> Option<Duration> {
    let (range, step, hint) = match version {
        VrrpVersion::V2 => (INTERVALS_V2, 1_000, "version 2 counts whole seconds"),
        VrrpVersion::V3 => (
            INTERVALS_V3,
            10,
            "version 3 counts hundredths of a second: a multiple of 10ms",
        ),
    };
    let interval = reader.duration(item, "advert_int", range.0..=range.1)?;
    if interval.as_millis() % step != 0 {
        let text = format!("`advert_int` cannot be {}", duration::show(interval));
        reader.error(item.span().start, text, hint);
        return None;
    }
    Some(interval)
}

pub(super) fn read_preempt(
    reader: &mut Reader,
    spec: &mut VrrpSpec,
    preempt: Option<&Item<'_>>,
    delay: Option<&Item<'_>>,
) {
    if let Some(item) = preempt
        && reader.boolean(item, "preempt") == Some(false)
    {
        spec.preempt = false;
        if spec.is_owner() {
            let text = "priority 255 is the owner of its addresses, which takes them back always";
            reader.error(item.span().start, text, "take `preempt` out, or lower the priority");
        }
    }
    if let Some(item) = delay {
        let longest = Duration::from_secs(1_000);
        spec.preempt_delay = reader
            .duration(item, "preempt_delay", Duration::ZERO..=longest)
            .unwrap_or_default();
        if !spec.preempt {
            let text = "`preempt_delay` has no effect with `preempt = false`";
            reader.warning(item.span().start, text, "take one of them out");
        }
    }
}

pub(super) fn read_password(reader: &mut Reader, item: &Item<'_>, version: VrrpVersion) -> Option<VrrpPassword> {
    let text = reader.string(item, "password")?;
    let at = item.span().start;
    if version == VrrpVersion::V3 {
        let hint = "take it out, or write version = 2; it is sent in clear text and keeps nobody out anyway";
        reader.error(at, "VRRP version 3 has no passwords", hint);
        return None;
    }
    if text.is_empty() || text.len() > LONGEST_PASSWORD {
        let hint = format!("1 to {LONGEST_PASSWORD} bytes; keepalived cuts a longer one off there");
        reader.error(at, format!("`password` cannot have {} bytes", text.len()), hint);
        return None;
    }
    let mut password = [0; LONGEST_PASSWORD];
    password.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    Some(VrrpPassword(password))
}

pub(super) fn read_peers(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec, family: &mut Option<Family>) {
    for element in reader.one_or_list(item) {
        let Some(peer) = reader.ip_address(element, "peers") else {
            continue;
        };
        let (at, own) = (element.span().start, Family::of(peer));
        if spec.source == Some(peer) {
            let text = format!("peer {peer} is the instance's own `source_address`");
            reader.error(at, text, "name the other directors only");
        } else if peer.is_multicast() || peer.is_unspecified() {
            let hint = "the address of another director; without `peers` adverts go to the multicast group";
            reader.error(at, format!("`peers` cannot be {peer}"), hint);
        } else if *family.get_or_insert(own) != own {
            let text = format!("peer {peer} is of another family than the rest of this instance");
            reader.error(at, text, "IPv4 and IPv6 need an instance each");
        } else if spec.peers.contains(&peer) {
            reader.warning(at, format!("peer {peer} is there twice"), "once is enough");
        } else {
            spec.peers.push(peer);
        }
    }
}

/// Answers with whether what is sent to its addresses is taken.
pub(super) fn read_accept(reader: &mut Reader, item: &Item<'_>, spec: &VrrpSpec) -> bool {
    let accepts = reader.boolean(item, "accept") != Some(false);
    if !accepts && spec.is_owner() {
        let text = "priority 255 is the owner of its addresses, which takes what is sent to them always";
        reader.error(item.span().start, text, "take `accept` out, or lower the priority");
    }
    accepts
}
