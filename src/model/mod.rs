//! The words of the project: what every other room talks about.
//!
//! Nouns and values only. They can be shown, parsed, ordered and compared; nothing here reads a clock, a file or a
//! socket, and nothing here decides. Names are those of ipvsadm(8), keepalived.conf(5) and RFC 9568.
//!
//! | file | what |
//! |---|---|
//! | `service` | the key and the settings of a virtual service |
//! | `destination` | the key and the settings of a real server inside a service, forwarding methods |
//! | `scheduler` | schedulers and the flags that fit them |
//! | `table` | snapshots of the kernel's tables, with and without figures |
//! | `step` | one change of the kernel's table, and what the kernel said to it |
//! | `sync` | sync daemons, kernel timeouts, kernel information |
//! | `check` | check settings |
//! | `probe`, `*_probe` | what is tried, and from where; the settings of one type |
//! | `admin` | what an operator wants of servers and pools |
//! | `outcome`, `advice` | what a probe found: causes, latency, warnings |
//! | `pattern` | a regular expression over bytes |
//! | `peer` | what two directors tell each other |
//! | `connection` | one entry of the kernel's connection table |
//! | `config` | a validated configuration |
//! | `policy` | how a pool behaves as a whole, commands that are run at changes |
//! | `host` | interfaces and addresses of this host |
//! | `facts` | what is known of this host |
//! | `owned` | what ipvsd has written and may remove |
//! | `event`, `action` | what happens to the director and what it wants done |
//! | `instant` | our own point in time, so that thinking rooms never ask a clock |
//! | `unix_time` | a point in time by the calendar, for what is shown |
//! | `routing` | routes and rules that are where a virtual router is master, and the record of what it has put on this host |
//! | `track` | what a virtual router tracks |
//! | `vrrp` | virtual routers: what an instance is told to be, what happens to it, what it wants done |
//! | `snapshot` | what a director knows, for its successor |
//! | `control` | what is said over the control socket |

mod action;
mod admin;
mod advice;
mod check;
mod config;
mod connection;
pub mod control;
mod database_probe;
mod destination;
mod event;
mod facts;
mod host;
mod http_probe;
mod instant;
mod network_probe;
mod notify;
mod outcome;
mod owned;
mod pattern;
mod peer;
mod policy;
mod probe;
mod routing;
mod scheduler;
mod service;
mod snapshot;
mod socket;
mod step;
mod sync;
mod table;
mod tls_probe;
mod track;
mod unix_time;
mod vmac;
mod vrrp;

pub use action::{Action, CheckState, ServerId, ServerState, Subject, Transition};
pub use admin::{AdminState, Lasting, OperatorOrder, OrderRefused, WeightSource};
pub use advice::{Advice, StateAdvice, WeightAdvice};
pub use check::{CheckSpec, Flap, Initial, IntervalFrom, Jitter, PATH_MARKS, Via};
pub use config::{
    Config, ControlSettings, HostSettings, IpvsSettings, RealServer, ReconcileSettings, ReloadSettings, ServerDefaults,
    SorryServer, Sysctl, TimeoutSettings, VirtualAddress, VirtualServer, interface_sysctl,
};
pub use connection::{ConnectionEntry, PersistenceData};
pub use database_probe::{Login, MysqlProbe, PostgresqlProbe, Query, RedisProbe, RedisRole, Secret, ValueTest};
pub use destination::{DestinationKey, DestinationSpec, Forwarding, Tunnel, TunnelChecksum, TunnelKind};
pub use event::{Event, FoundProcess, HoldEnd, HoldId, ProbeId};
pub use facts::HostFacts;
pub use host::{AddressScope, HostAddress, Link, Mac};
pub use http_probe::{BodyTest, HttpProbe, HttpVersion};
pub use instant::Instant;
pub use network_probe::{DnsProbe, GrpcProbe, LdapProbe, ReplyTest, SmtpProbe, UdpProbe};
pub use notify::{Delivery, Mail, MailTls, NotifySettings, VrrpNotify, Webhook, notified_state};
pub use outcome::{Excerpt, FailureCause, LocalTrouble, ProbeOutcome, ProbeResult, ProbeWarning, Stage};
pub use owned::Owned;
pub use pattern::Pattern;
pub use peer::{
    Difference, PEER_CLOCKS_APART, PEER_REFRESH, ParsePublicKeyError, PeerSettings, PeerVerdict, PeerWish, PeerWord,
    Picture, PictureSettings, PublicKey, ServicePicture,
};
pub use policy::{Command, ForeignDestinations, Notify, PoolPolicy, ReturnMode, Tier};
pub use probe::{AgentProbe, Bytes, FileProbe, Origin, ProbeKind, ProbeSpec, ProbeType, ScriptProbe, TalkStep};
pub use routing::{MAIN_TABLE, Prefix, RouteKey, RouteKind, VrrpRecord, VrrpRoute, VrrpRule};
pub use scheduler::{Scheduler, ServiceFlags};
pub use service::{Family, Netmask, ParseKeyError, Protocol, ServiceKey, ServiceSpec};
pub use snapshot::{
    AdviceSnapshot, CheckSnapshot, DrainSnapshot, FlapSnapshot, LeavingSnapshot, MachineSnapshot, MemberSnapshot,
    PoolSnapshot, ProbeFound, ResultSnapshot, SeatSnapshot, Snapshot, TierSnapshot,
};
pub use socket::plain_socket;
pub use step::{Refusal, RefusalKind, Step, StepOutcome};
pub use sync::{KernelInfo, SyncDaemon, SyncRole, SyncSettings, Timeouts};
pub use table::{ListedDestination, ListedService, Service, Statistics, Table};
pub use tls_probe::{TlsProbe, TlsSettings, Trust};
pub use track::{VrrpFile, VrrpFinding, VrrpProcess, VrrpScript, VrrpTrack, VrrpTracked, VrrpTracking};
pub use unix_time::{ParseTimeError, UnixTime};
pub use vmac::{Vmac, VrrpDevice, VrrpSetting};
pub use vrrp::{
    Garp, VrrpAction, VrrpAddress, VrrpAdvert, VrrpAuthentication, VrrpChange, VrrpChecksum, VrrpEntry, VrrpEvent,
    VrrpGroupOrder, VrrpPassword, VrrpReason, VrrpRefusal, VrrpServing, VrrpSpec, VrrpState, VrrpSyncGroup,
    VrrpVersion,
};
