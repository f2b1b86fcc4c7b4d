//! A configuration, as far as two directors have to have the same: what stands in the kernel's table, with the weights of
//! the configuration, for those in the kernel follow what each director's checks say.

use crate::model::{
    Config, DestinationSpec, Picture, PictureSettings, ServiceFlags, ServiceKey, ServicePicture, VirtualServer,
};

/// What is shown where nothing is set.
const NONE: &str = "none";

/// The picture of a configuration. Services that are programmed only where a virtual router is master are in it on both
/// directors.
pub fn picture(config: &Config) -> Picture {
    let servers = config.virtual_servers.iter();
    let services = servers.flat_map(|server| server.services.iter().map(|service| of_service(server, service)));
    let mut services: Vec<_> = services.collect();
    services.sort_by_key(|picture| picture.service);
    Picture { services }
}

fn of_service(server: &VirtualServer, service: &ServiceKey) -> ServicePicture {
    let spec = &server.spec;
    let has = |flag| spec.flags.contains(flag);
    let timeout = match has(ServiceFlags::PERSISTENT) {
        true => format!("{}s", spec.persistence_timeout),
        false => NONE.to_owned(),
    };
    let sorry = server.sorry_server.as_ref();
    let sorry = sorry.map(|sorry| format!("{} ({})", sorry.destination(service), sorry.spec.forwarding));
    let flags = spec.flags.scheduler_flag_names(&spec.scheduler);
    let settings = [
        ("scheduler", spec.scheduler.to_string()),
        (
            "flags",
            if flags.is_empty() {
                NONE.to_owned()
            } else {
                flags.join(",")
            },
        ),
        ("one_packet", has(ServiceFlags::ONE_PACKET).to_string()),
        ("persistence_timeout", timeout),
        ("persistence_netmask", spec.netmask.to_string()),
        (
            "persistence_engine",
            spec.persistence_engine.clone().unwrap_or_else(|| NONE.to_owned()),
        ),
        ("sorry_server", sorry.unwrap_or_else(|| NONE.to_owned())),
        (
            "program_when",
            if server.program_with.is_some() {
                "master"
            } else {
                "always"
            }
            .to_owned(),
        ),
    ];
    let present = server.real_servers.iter().filter(|real| !real.disabled);
    let real_servers = present.map(|real| {
        let mut settings = of_destination(&real.spec);
        settings.insert("tier".to_owned(), real.tier.to_string());
        (real.destination(service).to_string(), settings)
    });
    ServicePicture {
        service: *service,
        settings: named(settings),
        real_servers: real_servers.collect(),
    }
}

fn of_destination(spec: &DestinationSpec) -> PictureSettings {
    named([
        ("weight", spec.weight.to_string()),
        ("forward", spec.forwarding.to_string()),
        ("uthreshold", spec.upper_threshold.to_string()),
        ("lthreshold", spec.lower_threshold.to_string()),
    ])
}

fn named<const N: usize>(settings: [(&str, String); N]) -> PictureSettings {
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}
