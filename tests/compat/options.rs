//! The commands and options of ipvsadm, with values that mean something and values that do not: what the matrix and the
//! random command lines are made of. Written from ipvsadm(8) and `ipvsadm -h`, not from ours.

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    /// As options name it in [`Opt::goes`].
    pub(crate) key: char,
    /// All spellings.
    pub(crate) names: &'static [&'static str],
    /// Words it takes, right behind it.
    pub(crate) words: &'static [&'static str],
    /// What it cannot do without.
    pub(crate) wants: &'static [Wanted],
    /// Its service is to be a new one.
    pub(crate) makes_service: bool,
    /// Its real server is to be a new one.
    pub(crate) makes_server: bool,
    /// How often it is drawn.
    pub(crate) weight: usize,
}

/// What a command cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Service,
    Server,
}

/// An option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Long, with its dashes.
    pub(crate) long: &'static str,
    /// The letter, with its dash.
    pub(crate) short: Option<&'static str>,
    pub(crate) value: Value,
    /// What has to stand beside it to make sense, in front of it.
    pub(crate) along: &'static [&'static str],
    /// The keys of the commands that take it.
    pub(crate) goes: &'static str,
}

/// The value of an option.
#[derive(Debug)]
pub(crate) enum Value {
    /// Takes none.
    None,
    /// May stand without.
    Optional {
        valid: &'static [&'static str],
        invalid: &'static [&'static str],
    },
    Wanted {
        valid: &'static [&'static str],
        invalid: &'static [&'static str],
    },
    /// Names a service or a real server.
    Names {
        what: Wanted,
        /// What is in the table.
        there: &'static [&'static str],
        new: &'static [&'static str],
        invalid: &'static [&'static str],
    },
}

/// What is in the table before: one service of each kind, a destination each, a backup daemon.
pub(crate) const BEFORE: &[&str] = &[
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 3",
    "-A -u 10.0.0.1:53 -s rr -p 60",
    "-a -u 10.0.0.1:53 -r 10.1.0.1:80 -m",
    "-A --sctp-service 10.0.0.1:9 -s sh -b sh-port",
    "-a --sctp-service 10.0.0.1:9 -r 10.1.0.1:80 -m",
    "-A -f 5",
    "-a -f 5 -r 10.1.0.1:80 -m",
    "-A -f 5 -6",
    "--start-daemon backup --mcast-interface eth0",
];

const SERVICE: &[Wanted] = &[Wanted::Service];
const SERVER: &[Wanted] = &[Wanted::Service, Wanted::Server];

const fn command(key: char, names: &'static [&'static str], wants: &'static [Wanted], weight: usize) -> Command {
    Command {
        key,
        names,
        words: &[],
        wants,
        makes_service: false,
        makes_server: false,
        weight,
    }
}

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        makes_service: true,
        ..command('A', &["-A", "--add-service"], SERVICE, 24)
    },
    command('E', &["-E", "--edit-service"], SERVICE, 12),
    command('D', &["-D", "--delete-service"], SERVICE, 6),
    command('C', &["-C", "--clear"], &[], 1),
    command('R', &["-R", "--restore"], &[], 2),
    command('S', &["-S", "--save"], &[], 4),
    Command {
        makes_server: true,
        ..command('a', &["-a", "--add-server"], SERVER, 24)
    },
    command('e', &["-e", "--edit-server"], SERVER, 12),
    command('d', &["-d", "--delete-server"], SERVER, 6),
    command('L', &["-L", "--list", "-l"], &[], 16),
    command('Z', &["-Z", "--zero"], &[], 4),
    Command {
        words: &["10", "20", "30"],
        ..command('s', &["--set"], &[], 3)
    },
    Command {
        words: &["master"],
        ..command('m', &["--start-daemon"], &[], 4)
    },
    Command {
        words: &["backup"],
        ..command('b', &["--stop-daemon"], &[], 3)
    },
    command('h', &["-h", "--help"], &[], 1),
    command('v', &["-v", "--version"], &[], 1),
];

const fn flag(long: &'static str, short: Option<&'static str>, goes: &'static str) -> Opt {
    Opt {
        long,
        short,
        value: Value::None,
        along: &[],
        goes,
    }
}

const fn valued(
    long: &'static str,
    short: Option<&'static str>,
    valid: &'static [&'static str],
    invalid: &'static [&'static str],
    goes: &'static str,
) -> Opt {
    Opt {
        long,
        short,
        value: Value::Wanted { valid, invalid },
        along: &[],
        goes,
    }
}

const fn naming(
    long: &'static str,
    short: Option<&'static str>,
    what: Wanted,
    there: &'static [&'static str],
    new: &'static [&'static str],
    invalid: &'static [&'static str],
) -> Opt {
    Opt {
        long,
        short,
        value: Value::Names {
            what,
            there,
            new,
            invalid,
        },
        along: &[],
        goes: match what {
            Wanted::Service => "AEDaedLZ",
            Wanted::Server => "aed",
        },
    }
}

pub(crate) const OPTIONS: &[Opt] = &[
    naming(
        "--tcp-service",
        Some("-t"),
        Wanted::Service,
        &["10.0.0.1:80", "10.0.0.1:http", "www:80"],
        &[
            "10.0.0.2:80",
            "10.0.0.2:8080",
            "[2001:db8::1]:80",
            "mail.example.com:smtp",
        ],
        &["80", "10.0.0.1:", "10.0.0.1:70000", "nosuch:80", "[2001:db8::1]"],
    ),
    naming(
        "--udp-service",
        Some("-u"),
        Wanted::Service,
        &["10.0.0.1:53", "10.0.0.1:domain"],
        &["10.0.0.2:53", "10.0.0.3:5060", "[2001:db8::2]:53"],
        &["53", "10.0.0.1:smtp", "10.0.0.300:53"],
    ),
    naming(
        "--sctp-service",
        None,
        Wanted::Service,
        &["10.0.0.1:9"],
        &["10.0.0.2:9", "[2001:db8::3]:9"],
        &["10.0.0.1:http", ":9"],
    ),
    naming(
        "--fwmark-service",
        Some("-f"),
        Wanted::Service,
        &["5"],
        &["6", "2147483647"],
        &["0", "-1", "5x", "4294967296"],
    ),
    Opt {
        along: &["-f", "5"],
        ..flag("--ipv6", Some("-6"), "")
    },
    valued(
        "--scheduler",
        Some("-s"),
        &["rr", "wlc", "sh", "mh", "none"],
        &["nosuch", "RR"],
        "AE",
    ),
    Opt {
        value: Value::Optional {
            valid: &["300", "1", "2678400"],
            invalid: &["0", "2678401", "x"],
        },
        ..flag("--persistent", Some("-p"), "AE")
    },
    Opt {
        along: &["-p"],
        ..valued(
            "--netmask",
            Some("-M"),
            &["255.255.255.0", "255.255.255.255"],
            &["24x", "256.0.0.0", "nosuch"],
            "AE",
        )
    },
    naming(
        "--real-server",
        Some("-r"),
        Wanted::Server,
        &["10.1.0.1:80", "first.example.com:http"],
        &["10.1.0.2:80", "10.1.0.3", "10.1.0.4:8080"],
        &["10.1.0.1:", "80", "nosuch:80", "[2001:db8:1::1]"],
    ),
    flag("--gatewaying", Some("-g"), "ae"),
    flag("--ipip", Some("-i"), "ae"),
    flag("--masquerading", Some("-m"), "ae"),
    valued(
        "--weight",
        Some("-w"),
        &["0", "5", "2147483647"],
        &["-1", "x", "2147483648"],
        "ae",
    ),
    valued("--u-threshold", Some("-x"), &["0", "100"], &["-1", "x"], "ae"),
    Opt {
        along: &["-x", "100"],
        ..valued("--l-threshold", Some("-y"), &["0", "50"], &["-1", "x"], "ae")
    },
    flag("--numeric", Some("-n"), "SL"),
    flag("--connection", Some("-c"), "L"),
    valued("--mcast-interface", None, &["eth0", "lo"], &["nosuch"], "m"),
    valued("--syncid", None, &["0", "255"], &["256", "-1", "x"], "mbL"),
    flag("--timeout", None, "L"),
    flag("--daemon", None, "L"),
    flag("--stats", None, "L"),
    flag("--rate", None, "L"),
    flag("--thresholds", None, "L"),
    flag("--persistent-conn", None, "L"),
    flag("--nosort", None, "L"),
    flag("--sort", None, "L"),
    flag("--exact", Some("-X"), "L"),
    Opt {
        along: &["-u", "10.0.0.2:53"],
        ..flag("--ops", Some("-o"), "AE")
    },
    Opt {
        along: &["-p"],
        ..valued("--pe", None, &["sip"], &["nosuch"], "AE")
    },
    Opt {
        along: &["-s", "sh"],
        ..valued(
            "--sched-flags",
            Some("-b"),
            &["sh-port", "flag-1,flag-3"],
            &["nosuch", "mh-port"],
            "AE",
        )
    },
    valued(
        "--mcast-group",
        None,
        &["224.0.0.7", "ff05::7"],
        &["10.0.0.1", "x"],
        "m",
    ),
    valued("--mcast-port", None, &["1", "65535"], &["0", "65536", "x"], "m"),
    valued("--mcast-ttl", None, &["1", "255"], &["0", "256", "x"], "m"),
    valued("--sync-maxlen", None, &["100", "1400"], &["0", "65508", "x"], "m"),
    flag("--tun-info", None, "L"),
    Opt {
        along: &["-i"],
        ..valued("--tun-type", None, &["gre", "ipip"], &["x", "gue"], "ae")
    },
    Opt {
        along: &["-i", "--tun-type", "gue"],
        ..valued("--tun-port", None, &["1", "65535"], &["0", "65536", "x"], "ae")
    },
    Opt {
        along: &["-i", "--tun-type", "gre"],
        ..flag("--tun-nocsum", None, "ae")
    },
    Opt {
        along: &["-i", "--tun-type", "gre"],
        ..flag("--tun-csum", None, "ae")
    },
    Opt {
        along: &["-i", "--tun-type", "gue", "--tun-port", "6080"],
        ..flag("--tun-remcsum", None, "ae")
    },
];

impl Opt {
    pub(crate) fn takes_value(&self) -> bool {
        !matches!(self.value, Value::None)
    }

    /// What it names, if it does.
    pub(crate) fn names(&self) -> Option<Wanted> {
        match self.value {
            Value::Names { what, .. } => Some(what),
            Value::None | Value::Optional { .. } | Value::Wanted { .. } => None,
        }
    }

    /// Values that mean something with a command.
    pub(crate) fn valid(&self, command: &Command) -> &'static [&'static str] {
        match self.value {
            Value::None => &[],
            Value::Optional { valid, .. } | Value::Wanted { valid, .. } => valid,
            Value::Names { what, there, new, .. } => {
                let makes = match what {
                    Wanted::Service => command.makes_service,
                    Wanted::Server => command.makes_server,
                };
                if makes { new } else { there }
            }
        }
    }

    pub(crate) fn invalid(&self) -> &'static [&'static str] {
        match self.value {
            Value::None => &[],
            Value::Optional { invalid, .. } | Value::Wanted { invalid, .. } | Value::Names { invalid, .. } => invalid,
        }
    }

    /// Whether a word of a command line is this option.
    pub(crate) fn is_written_as(&self, word: &str) -> bool {
        let long = word == self.long || word.strip_prefix(self.long).is_some_and(|rest| rest.starts_with('='));
        long || !word.starts_with("--") && self.short.is_some_and(|short| word.starts_with(short))
    }

    /// The option with a value, written in one of the ways there are.
    pub(crate) fn written(&self, value: Option<&str>, way: usize) -> Vec<String> {
        let name = self.short.filter(|_| way.is_multiple_of(2)).unwrap_or(self.long);
        match value {
            None => vec![name.to_owned()],
            Some(value) if way / 2 % 2 == 1 => {
                let between = if name.starts_with("--") { "=" } else { "" };
                vec![format!("{name}{between}{value}")]
            }
            // Apart, it would be a word of its own.
            Some(value) if matches!(self.value, Value::Optional { .. }) && value.starts_with('-') => {
                vec![format!("{}={value}", self.long)]
            }
            Some(value) => vec![name.to_owned(), value.to_owned()],
        }
    }
}
