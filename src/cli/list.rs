//! `ipvsd list`: what `ipvsadm -L` prints, with its listing options, and `--json`.
//!
//! Which option goes with which is the original's rule; so are the letters (`-c` is connections here). What differs
//! on purpose: the time for names is limited, and messages name the service.
//!
//! A plain table, the one asked for most, is made of one dump of services and `/proc/net/ip_vs`, which has the columns
//! of its destinations at a fraction of what a dump of destinations a service costs; every other view needs the dumps.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use nix::errno::Errno;

use super::names;
use crate::ipvs::{self, Client, IpvsError};
use crate::listing::{self, Columns, Names, NeededNames, Order, Request, What};
use crate::model::{Family, KernelInfo, ListedService, Protocol, ServiceKey};

/// The arguments of `list`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["tcp_service", "udp_service", "sctp_service", "fwmark_service", "connection", "timeout", "daemon"]))]
pub(super) struct ListArgs {
    /// Show addresses and ports as numbers, and ask no name server
    #[arg(short, long)]
    numeric: bool,

    /// Show packets and bytes since the counters were last zeroed
    #[arg(long, conflicts_with_all = ["connection", "timeout", "daemon"])]
    stats: bool,

    /// Show connections, packets and bytes a second
    #[arg(long, conflicts_with_all = ["connection", "timeout", "daemon"])]
    rate: bool,

    /// Never shorten a figure to K, M, G or T
    #[arg(short = 'X', long)]
    exact: bool,

    /// Show connection thresholds
    #[arg(long, conflicts_with_all = ["connection", "timeout", "daemon"])]
    thresholds: bool,

    /// Show persistence templates; with --connection, what the persistence engine knows
    #[arg(long, conflicts_with_all = ["timeout", "daemon"])]
    persistent_conn: bool,

    /// Show the tunnels to real servers
    #[arg(long)]
    tun_info: bool,

    /// Show the connection table
    #[arg(short, long)]
    connection: bool,

    /// Show the connection timeouts
    #[arg(long)]
    timeout: bool,

    /// Show the sync daemons
    #[arg(long)]
    daemon: bool,

    /// Keep the kernel's order
    #[arg(long)]
    nosort: bool,

    /// Sort, which is done anyway; taken because ipvsadm takes it
    #[arg(long)]
    sort: bool,

    /// Print JSON, always numeric, unscaled and with every column
    #[arg(long)]
    json: bool,

    /// Show only this TCP service
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    tcp_service: Option<String>,

    /// Show only this UDP service
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    udp_service: Option<String>,

    /// Show only this SCTP service
    #[arg(long, value_name = "ADDRESS:PORT")]
    sctp_service: Option<String>,

    /// Show only the service of this firewall mark
    #[arg(short, long, value_name = "MARK", value_parser = clap::value_parser!(u32).range(1..))]
    fwmark_service: Option<u32>,

    /// With --fwmark-service: the IPv6 service of the mark
    #[arg(short = '6', long, requires = "fwmark_service")]
    ipv6: bool,
}

impl ListArgs {
    fn columns(&self) -> Columns {
        Columns {
            statistics: self.stats,
            rates: self.rate,
            thresholds: self.thresholds,
            persistent_connections: self.persistent_conn,
            tunnels: self.tun_info,
            exact: self.exact,
        }
    }

    fn order(&self) -> Order {
        if self.nosort { Order::Kernel } else { Order::Sorted }
    }

    /// The one service asked for, or what is wrong with its address.
    fn service(&self) -> Result<Option<ServiceKey>, String> {
        if let Some(mark) = self.fwmark_service {
            let family = if self.ipv6 { Family::Inet6 } else { Family::Inet };
            return Ok(Some(ServiceKey::Fwmark { mark, family }));
        }
        [
            (Protocol::Tcp, &self.tcp_service),
            (Protocol::Udp, &self.udp_service),
            (Protocol::Sctp, &self.sctp_service),
        ]
        .into_iter()
        .find_map(|(protocol, text)| text.as_deref().map(|text| names::service_key(protocol, text)))
        .transpose()
    }
}

/// Runs the verb.
pub(super) fn run(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let service = match args.service() {
        Ok(service) => service,
        Err(message) => {
            // Nobody is left to tell where standard error itself is closed.
            let _ = writeln!(io::stderr(), "ipvsd: {message}");
            return Ok(ExitCode::from(2));
        }
    };
    let what = if let Some(key) = service {
        What::Service(key)
    } else if args.connection {
        What::Connections {
            persistence: args.persistent_conn,
        }
    } else if args.timeout {
        What::Timeouts
    } else if args.daemon {
        What::Daemons
    } else {
        What::Services
    };
    let request = Request {
        what,
        view: args.columns().view(),
        order: args.order(),
        numeric: args.numeric,
        json: args.json,
    };
    match render(&request)? {
        Some(bytes) => print(&bytes)?,
        None => bail!(
            "no such service{}",
            service.map_or_else(String::new, |key| format!(": {key}"))
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// The bytes of a listing; `None` where the one service asked for is not in the table.
///
/// # Errors
/// A kernel that cannot be read.
pub(super) fn render(request: &Request) -> Result<Option<Vec<u8>>, IpvsError> {
    let mut out = Vec::new();
    match request.what {
        What::Services => {
            let (info, services) = if request.view.is_plain() && !request.json {
                ipvs::read_plain_listing()?
            } else {
                let mut client = Client::connect()?;
                (client.info()?, client.listing()?)
            };
            render_services(&mut out, Some(info), &services, request);
        }
        What::Service(key) => {
            let mut client = Client::connect()?;
            let mut service = match client.service(&key) {
                Ok(service) => service,
                Err(IpvsError::Refused { errno, .. }) if errno == Errno::ESRCH as i32 => return Ok(None),
                Err(error) => return Err(error),
            };
            service.destinations = client.destinations(&key)?;
            render_services(&mut out, None, &[service], request);
        }
        What::Connections { persistence } => {
            let connections = ipvs::read_connections()?;
            if request.json {
                listing::json_connections(&mut out, &connections);
            } else {
                let names = named(request.numeric, || NeededNames::of_connections(&connections));
                listing::render_connections(&mut out, &connections, persistence, &names);
            }
        }
        What::Timeouts => {
            let timeouts = Client::connect()?.timeouts()?;
            if request.json {
                listing::json_timeouts(&mut out, timeouts);
            } else {
                listing::render_timeouts(&mut out, timeouts);
            }
        }
        What::Daemons => {
            let daemons = Client::connect()?.sync_daemons()?;
            if request.json {
                listing::json_daemons(&mut out, &daemons);
            } else {
                listing::render_daemons(&mut out, &daemons);
            }
        }
    }
    Ok(Some(out))
}

fn render_services(out: &mut Vec<u8>, info: Option<KernelInfo>, services: &[ListedService], request: &Request) {
    if request.json {
        listing::json_services(out, info, services, request.order);
    } else {
        let names = named(request.numeric, || NeededNames::of_services(services));
        listing::render_services(out, info, services, request.view, request.order, &names);
    }
}

/// The names a listing shows; none in a numeric one.
pub(super) fn named(numeric: bool, needed: impl FnOnce() -> NeededNames) -> Names {
    if numeric {
        Names::none()
    } else {
        names::look_up(needed(), names::SILENCE)
    }
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
pub(super) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        Ok(()) | Err(_) => Ok(()),
    }
}
