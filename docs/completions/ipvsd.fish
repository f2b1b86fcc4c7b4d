# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ipvsd_global_optspecs
    string join \n h/help V/version
end

function __fish_ipvsd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ipvsd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ipvsd_using_subcommand
    set -l cmd (__fish_ipvsd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ipvsd -n "__fish_ipvsd_needs_command" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "run" -d 'Run the director daemon in the foreground'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "check-config" -d 'Print every problem of a configuration file with its place and a hint'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "config" -d 'Print the configuration that the running daemon uses, as it was read'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "plan" -d 'Print what a reload of the running daemon would change, or `apply`, one step a line; exit code 3 where something would'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "apply" -d 'Make the kernel match a configuration once, without a daemon'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "list" -d 'Show the kernel\'s table as `ipvsadm -L` does, or as JSON'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "ipvsadm" -d 'Do what ipvsadm does, with ipvsadm\'s options'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "status" -d 'Show the running daemon\'s pools, and who serves in them'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "why" -d 'Say why a real server is in the state it is in'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "drain" -d 'Give a real server no new connections, and let it keep those it has'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "maint" -d 'Give a real server no traffic, whatever its checks say'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "ready" -d 'Take `drain` or `maint` back'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "weight" -d 'Give a real server another weight than the configured one'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "add" -d 'Add a real server to a running pool, beside what the files say'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "remove" -d 'Remove a real server from a running pool, whatever the files say'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "return" -d 'Bring a pool back from a backup tier or the sorry server to the best tier that can serve'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "rebuild" -d 'Take a pool\'s real servers out and put them in again in the order that every director has, for hash schedulers'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "reload" -d 'Have the running daemon read its configuration again, and say what came of it'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "upgrade" -d 'Put the program on disk in the running daemon\'s place'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "pause" -d 'Have the running daemon write nothing to the kernel\'s table for a while'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "resume" -d 'End a pause before its time'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "vrrp" -d 'Virtual routers: hand one over to another director'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "peer" -d 'The other director: this one\'s key for it, how the link is, what differs'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "events" -d 'Show what has happened to servers, pools and the kernel\'s table'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "realserver" -d 'Prepare this host to be a real server, undo it, or say whether it would work'
complete -c ipvsd -n "__fish_ipvsd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -s c -l config -d 'The configuration file' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -l run-dir -d 'Where ipvsd keeps the record of what it owns' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -l observe -d 'Probe and log what would be written, and write nothing'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -l flush-on-stop -d 'Take the services and virtual addresses of this ipvsd out of the kernel at the end, and nothing else'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -l keep -d 'Leave the addresses of virtual routers where they are at the end and tell nobody, for a restart within two adverts'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand run" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand check-config" -l json -d 'Print the problems as JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand check-config" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand config" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand config" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand config" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand plan" -s c -l config -d 'The configuration file [default: the running daemon\'s, else /etc/ipvsd/ipvsd.toml]; another one than the daemon\'s is compared as `apply` does' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand plan" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand plan" -l offline -d 'Do not ask a running daemon; every real server counts as up'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand plan" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand plan" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand plan" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand apply" -s c -l config -d 'The configuration file' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand apply" -l run-dir -d 'Where ipvsd keeps the record of what it owns' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand apply" -s v -l verbose -d 'Print every change, as `plan` does'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand apply" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand apply" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s t -l tcp-service -d 'Show only this TCP service' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s u -l udp-service -d 'Show only this UDP service' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l sctp-service -d 'Show only this SCTP service' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s f -l fwmark-service -d 'Show only the service of this firewall mark' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s n -l numeric -d 'Show addresses and ports as numbers, and ask no name server'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l stats -d 'Show packets and bytes since the counters were last zeroed'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l rate -d 'Show connections, packets and bytes a second'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s X -l exact -d 'Never shorten a figure to K, M, G or T'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l thresholds -d 'Show connection thresholds'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l persistent-conn -d 'Show persistence templates; with --connection, what the persistence engine knows'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l tun-info -d 'Show the tunnels to real servers'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s c -l connection -d 'Show the connection table'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l timeout -d 'Show the connection timeouts'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l daemon -d 'Show the sync daemons'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l nosort -d 'Keep the kernel\'s order'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l sort -d 'Sort, which is done anyway; taken because ipvsadm takes it'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -l json -d 'Print JSON, always numeric, unscaled and with every column'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s 6 -l ipv6 -d 'With --fwmark-service: the IPv6 service of the mark'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand list" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand status" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand status" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand status" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand status" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand why" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand why" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand why" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand why" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -l deadline -d 'After so long (`90s`, `5m`, `1h`) the server is put in maintenance, and connections that are left are given up' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -l until-reload -d 'Until the next reload; without it until somebody says otherwise'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -l wait -d 'Return when no connection to the server is active any more (of UDP and firewall marks: when none is left), or at the deadline'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand drain" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand maint" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand maint" -l until-reload -d 'Until the next reload; without it until somebody says otherwise'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand maint" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand maint" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand maint" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand ready" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand ready" -l until-reload -d 'Until the next reload; without it until somebody says otherwise'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand ready" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand ready" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand ready" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand weight" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand weight" -l until-reload -d 'Until the next reload; without it until somebody says otherwise'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand weight" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand weight" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand weight" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand add" -l weight -d 'Its weight, 0 to 2147483647 [default: 1]' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand add" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand add" -l until-reload -d 'Until the next reload; without it until somebody says otherwise'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand add" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand add" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand add" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand remove" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand remove" -l until-reload -d 'Until the next reload; without it until somebody says otherwise'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand remove" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand remove" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand remove" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand return" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand return" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand return" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand return" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand rebuild" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand rebuild" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand rebuild" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand rebuild" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand reload" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand reload" -l force -d 'Reload also where more would be taken away than `remove_limit` of [reload] allows'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand reload" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand reload" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand reload" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand upgrade" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand upgrade" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand upgrade" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand pause" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand pause" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand pause" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand pause" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand resume" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand resume" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand resume" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand resume" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and not __fish_seen_subcommand_from step-down help" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and not __fish_seen_subcommand_from step-down help" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and not __fish_seen_subcommand_from step-down help" -f -a "step-down" -d 'Hand an instance, and its sync group, over to another director; it takes over again only where nobody else is left'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and not __fish_seen_subcommand_from step-down help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and __fish_seen_subcommand_from step-down" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and __fish_seen_subcommand_from step-down" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and __fish_seen_subcommand_from step-down" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and __fish_seen_subcommand_from step-down" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and __fish_seen_subcommand_from help" -f -a "step-down" -d 'Hand an instance, and its sync group, over to another director; it takes over again only where nobody else is left'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand vrrp; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and not __fish_seen_subcommand_from key status help" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and not __fish_seen_subcommand_from key status help" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and not __fish_seen_subcommand_from key status help" -f -a "key" -d 'Make this director\'s private key in a new file, and print its public key for the other director\'s `peer_key`'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and not __fish_seen_subcommand_from key status help" -f -a "status" -d 'Say whether the other director is connected, what is wrong with the link, and what differs between the two'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and not __fish_seen_subcommand_from key status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from key" -l show -d 'Print the public key of a file that is there, and make none'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from key" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from key" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from status" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "key" -d 'Make this director\'s private key in a new file, and print its public key for the other director\'s `peer_key`'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "status" -d 'Say whether the other director is connected, what is wrong with the link, and what differs between the two'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand events" -s n -l last -d 'Show at most so many of the past' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand events" -l run-dir -d 'The run directory of the daemon' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand events" -s f -l follow -d 'Go on with those that come, until interrupted'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand events" -l json -d 'Print one JSON object a line'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand events" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand events" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and not __fish_seen_subcommand_from up down status help" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and not __fish_seen_subcommand_from up down status help" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and not __fish_seen_subcommand_from up down status help" -f -a "up" -d 'Put virtual addresses on this host, so that nobody but the director sends it their packets'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and not __fish_seen_subcommand_from up down status help" -f -a "down" -d 'Undo every `up`: this host is again as it was before the first'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and not __fish_seen_subcommand_from up down status help" -f -a "status" -d 'Say whether this host would work as a real server, and what is wrong'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and not __fish_seen_subcommand_from up down status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -l vip -d 'A virtual address, or several; `status` without any takes those on record' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -l mode -d 'How their packets come: dr (as they are) or tun (inside IP packets)' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -l config -d 'The director\'s configuration, to take addresses and modes of the pools that this host is in' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -l dev -d 'The device that the addresses go on; never one whose neighbours can ask for them' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -l run-dir -d 'Where the record is kept, in a folder named after the network namespace' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from up" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from down" -l run-dir -d 'Where the record is kept, in a folder named after the network namespace' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from down" -s h -l help -d 'Print help'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from down" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -l vip -d 'A virtual address, or several; `status` without any takes those on record' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -l mode -d 'How their packets come: dr (as they are) or tun (inside IP packets)' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -l config -d 'The director\'s configuration, to take addresses and modes of the pools that this host is in' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -l dev -d 'The device that the addresses go on; never one whose neighbours can ask for them' -r
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -l run-dir -d 'Where the record is kept, in a folder named after the network namespace' -r -F
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from help" -f -a "up" -d 'Put virtual addresses on this host, so that nobody but the director sends it their packets'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from help" -f -a "down" -d 'Undo every `up`: this host is again as it was before the first'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from help" -f -a "status" -d 'Say whether this host would work as a real server, and what is wrong'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand realserver; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "run" -d 'Run the director daemon in the foreground'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "check-config" -d 'Print every problem of a configuration file with its place and a hint'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "config" -d 'Print the configuration that the running daemon uses, as it was read'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "plan" -d 'Print what a reload of the running daemon would change, or `apply`, one step a line; exit code 3 where something would'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "apply" -d 'Make the kernel match a configuration once, without a daemon'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "list" -d 'Show the kernel\'s table as `ipvsadm -L` does, or as JSON'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "ipvsadm" -d 'Do what ipvsadm does, with ipvsadm\'s options'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "status" -d 'Show the running daemon\'s pools, and who serves in them'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "why" -d 'Say why a real server is in the state it is in'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "drain" -d 'Give a real server no new connections, and let it keep those it has'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "maint" -d 'Give a real server no traffic, whatever its checks say'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "ready" -d 'Take `drain` or `maint` back'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "weight" -d 'Give a real server another weight than the configured one'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "add" -d 'Add a real server to a running pool, beside what the files say'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "remove" -d 'Remove a real server from a running pool, whatever the files say'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "return" -d 'Bring a pool back from a backup tier or the sorry server to the best tier that can serve'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "rebuild" -d 'Take a pool\'s real servers out and put them in again in the order that every director has, for hash schedulers'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "reload" -d 'Have the running daemon read its configuration again, and say what came of it'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "upgrade" -d 'Put the program on disk in the running daemon\'s place'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "pause" -d 'Have the running daemon write nothing to the kernel\'s table for a while'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "resume" -d 'End a pause before its time'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "vrrp" -d 'Virtual routers: hand one over to another director'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "peer" -d 'The other director: this one\'s key for it, how the link is, what differs'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "events" -d 'Show what has happened to servers, pools and the kernel\'s table'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "realserver" -d 'Prepare this host to be a real server, undo it, or say whether it would work'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and not __fish_seen_subcommand_from run check-config config plan apply list ipvsadm status why drain maint ready weight add remove return rebuild reload upgrade pause resume vrrp peer events realserver help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and __fish_seen_subcommand_from vrrp" -f -a "step-down" -d 'Hand an instance, and its sync group, over to another director; it takes over again only where nobody else is left'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "key" -d 'Make this director\'s private key in a new file, and print its public key for the other director\'s `peer_key`'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "status" -d 'Say whether the other director is connected, what is wrong with the link, and what differs between the two'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and __fish_seen_subcommand_from realserver" -f -a "up" -d 'Put virtual addresses on this host, so that nobody but the director sends it their packets'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and __fish_seen_subcommand_from realserver" -f -a "down" -d 'Undo every `up`: this host is again as it was before the first'
complete -c ipvsd -n "__fish_ipvsd_using_subcommand help; and __fish_seen_subcommand_from realserver" -f -a "status" -d 'Say whether this host would work as a real server, and what is wrong'
