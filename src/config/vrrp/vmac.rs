//! `use_vmac` and `vmac_xmit_base`: the virtual MAC, and the name of the device that has it.
//!
//! The name may depend on the family, which is known last, when virtual servers have brought their addresses. Until then
//! an address stands on a device with a name that no interface can have.

use std::collections::HashMap;

use super::super::problem::Place;
use super::super::reader::{Item, Reader, shorten};
use super::super::tree::Value;
use super::Draft;
use crate::model::{VirtualServer, Vmac, VrrpSpec};

/// Reads both keys; answers with where the first stands, if there is to be a virtual MAC.
pub(super) fn read(
    reader: &mut Reader,
    use_vmac: Option<&Item<'_>>,
    xmit_base: Option<&Item<'_>>,
    spec: &mut VrrpSpec,
) -> Option<Place> {
    let wanted = use_vmac.and_then(|item| {
        let name = match item.get_ref() {
            Value::Boolean(false) => return None,
            Value::Boolean(true) => None,
            Value::String(_) => Some(reader.device(item)?),
            Value::Integer(_) | Value::Float | Value::Datetime | Value::Array(_) | Value::Table(_) => {
                let hint =
                    "write use_vmac = true, or the name of the device that it is to be on: use_vmac = \"vrrp.51\"";
                reader.error(item.span().start, "`use_vmac` must be true, false or a name", hint);
                return None;
            }
        };
        Some((name, reader.place(item.span().start)))
    });
    let by_interface = xmit_base.map(|item| (item, reader.boolean(item, "vmac_xmit_base") == Some(true)));
    if let Some((item, true)) = by_interface
        && use_vmac.is_none()
    {
        let hint = "add use_vmac = true, or take it out";
        reader.error(
            item.span().start,
            "`vmac_xmit_base` says nothing without `use_vmac`",
            hint,
        );
    }
    let (name, place) = wanted?;
    spec.vmac = Some(Vmac {
        device: name.unwrap_or_else(|| provisional(spec)),
        transmits: !by_interface.is_some_and(|(_, by_interface)| by_interface),
    });
    Some(place)
}

/// The device that an instance's addresses are on unless they say otherwise.
pub(super) fn device(spec: &VrrpSpec) -> String {
    spec.vmac.as_ref().map_or(&spec.interface, |vmac| &vmac.device).clone()
}

/// Adverts to single routers cannot go out by the device: it has no routes, and would tell the neighbours that the
/// interface's own address has the virtual MAC.
pub(super) fn examine_peers(reader: &mut Reader, peers: &Item<'_>, spec: &VrrpSpec) {
    if !spec.peers.is_empty() && spec.vmac.as_ref().is_some_and(|vmac| vmac.transmits) {
        let text = "adverts to single `peers` cannot be sent with the virtual MAC";
        let hint = "add vmac_xmit_base = true; the virtual addresses keep the virtual MAC";
        reader.error(peers.span().start, text, hint);
    }
}

fn provisional(spec: &VrrpSpec) -> String {
    format!("{}/{}", spec.interface, spec.virtual_router_id)
}

/// Gives the devices their names, now that the families are known, and sees to it that no two have one.
pub(super) fn finish(reader: &mut Reader, drafts: &mut [Draft], virtual_servers: &[VirtualServer]) {
    let mut names = HashMap::new();
    let interfaces: Vec<_> = drafts.iter().map(|draft| draft.spec.interface.clone()).collect();
    for draft in drafts {
        let Some(place) = draft.vmac else { continue };
        let provisional = provisional(&draft.spec);
        let spec = &mut draft.spec;
        let Some(vmac) = &mut spec.vmac else { continue };
        if vmac.device == provisional {
            vmac.device = Vmac::default_name(spec.family, spec.virtual_router_id);
            let on_it = spec.addresses.iter_mut().filter(|held| held.device == provisional);
            on_it.for_each(|held| held.device.clone_from(&vmac.device));
        }
        // Without a number it is none yet.
        if draft.number.is_none() {
            continue;
        }
        if interfaces.contains(&vmac.device) {
            let text = format!("`use_vmac` cannot be {}, which is an `interface`", vmac.device);
            let hint = "give it a name that no interface has, as \"vrrp.51\": ipvsd makes the device itself";
            reader.error_at(place, text, hint);
        }
        let mut servers = virtual_servers.iter();
        if let Some(server) = servers.find(|server| server.device.as_ref() == Some(&vmac.device)) {
            let text = format!(
                "{}, which `use_vmac` makes, is the `device` of virtual_server \"{}\"",
                vmac.device,
                shorten(&server.name)
            );
            let hint = "it is there where the master is: write `vrrp_instance` there in place of `device`";
            reader.error_at(place, text, hint);
        }
        match names.get(&vmac.device) {
            None => drop(names.insert(vmac.device.clone(), place)),
            Some(first) => {
                reader.file = place.file;
                let text = format!("two virtual MACs are to be on a device {}", vmac.device);
                let hint = "give one of them another name: use_vmac = \"vrrp.outside\"";
                reader.second(place.offset, *first, text, hint);
            }
        }
    }
}
