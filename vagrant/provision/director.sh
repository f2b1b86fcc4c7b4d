#!/bin/bash
# Makes this host one of two directors that share their virtual addresses: a configuration, and the daemon that keeps to
# it.
#
#   IPVSD         the ipvsd binary                 PROJECT   the project's folder
#   NUMBER        1 (unless told) or 2             SCENARIO  a folder of conf/ with a file for each director, or nothing
#   CONF_DIR      /etc/ipvsd unless told           RUN_DIR   /run/ipvsd unless told
#   START         yes unless told                  no: configured, not started
#
# Without a scenario, web servers:
#   VIP4 VIP6     the virtual addresses, either may be empty
#   REAL_SERVERS  the real servers' IPv4 addresses        REAL_SERVERS6  their IPv6 ones, needed with VIP6 only
#   MODE          dr (unless told) or tun
#
# With systemd the unit of conf/ is installed. Without, as on the lab's hosts, the daemon is started in the background
# and its pid written to RUN_DIR/director.pid.
set -euo pipefail

: "${IPVSD:?the path of the ipvsd binary}"
number=${NUMBER:-1} scenario=${SCENARIO-} start=${START:-yes}
conf_dir=${CONF_DIR:-/etc/ipvsd} run_dir=${RUN_DIR:-/run/ipvsd}
conf=$conf_dir/ipvsd.toml

# virtual_router NAME: both families have one, and move together.
virtual_router() {
	cat <<-TOML
		[[vrrp_instance]]
		name = "$1"
		interface = "$device"
		virtual_router_id = 51
		priority = $((200 - 50 * number))

	TOML
}

# virtual_server NAME VIP ROUTER REAL_SERVER...
virtual_server() {
	local name=$1 vip=$2 router=$3 real
	shift 3
	cat <<-TOML
		[[virtual_server]]
		name = "$name"
		address = "$(with_port "$vip")"
		scheduler = "rr"
		forward = "$mode"
		vrrp_instance = "$router"
		inhibit_on_failure = true
		check = [{ type = "tcp", interval = "2s", timeout = "1s", rise = 1, fall = 2 }]

	TOML
	for real in "$@"; do
		printf '[[virtual_server.real_server]]\naddress = "%s"\n\n' "$(with_port "$real")"
	done
}

with_port() {
	case $1 in
	*:*) echo "[$1]:80" ;;
	*) echo "$1:80" ;;
	esac
}

web() {
	local vip4=${VIP4-192.0.2.200} vip6=${VIP6-} mode=${MODE:-dr} routers=()
	: "${REAL_SERVERS:?the addresses of the real servers}"
	# The interface that leads to the real servers.
	device=$(ip -o route get "${REAL_SERVERS%% *}" | sed 's/.* dev \([^ ]*\) .*/\1/')
	# Word by word: a list is one string.
	# shellcheck disable=SC2086
	if [ -n "$vip4" ]; then
		virtual_router ipv4
		virtual_server web "$vip4" ipv4 $REAL_SERVERS
		routers+=('"ipv4"')
	fi
	# shellcheck disable=SC2086
	if [ -n "$vip6" ]; then
		virtual_router ipv6
		virtual_server web6 "$vip6" ipv6 ${REAL_SERVERS6:?the IPv6 addresses of the real servers}
		routers+=('"ipv6"')
	fi
	[ ${#routers[@]} -lt 2 ] || printf '[[vrrp_sync_group]]\nname = "web"\ninstances = [%s]\n' "${routers[0]}, ${routers[1]}"
}

# The example's files, with this host's interface and what else is elsewhere here.
example() {
	local folder=${PROJECT:?the folder of the project}/conf/$scenario
	[ -e "$folder/director-$number.toml" ] || { echo "there is no director $number in conf/$scenario" >&2; exit 1; }
	device=$(ip -o -4 address show to 192.0.2.0/24 | awk '{ print $2; exit }')
	local own="s/\"eth0\"/\"$device\"/; s#/etc/ipvsd/mysql.password#$conf_dir/mysql.password#"
	sed "$own" "$folder/director-$number.toml" >"$conf"
	[ ! -e "$folder/pool.toml" ] || sed "$own" "$folder/pool.toml" >"$conf_dir/pool.toml"
	(umask 077 && echo 'only to log in' >"$conf_dir/mysql.password")
}

# What the examples call and everybody writes for himself: a file on this host makes the check fail.
programs() {
	install -d /usr/local/lib/ipvsd
	printf '#!/bin/sh\nexec test ! -e /etc/ipvsd/fail\n' >/usr/local/lib/ipvsd/check-proxy
	printf '#!/bin/sh\nexec logger "$@"\n' >/usr/local/lib/page
	chmod 755 /usr/local/lib/ipvsd/check-proxy /usr/local/lib/page
}

mkdir -p "$conf_dir" "$run_dir"
if [ -n "$scenario" ]; then example; else web >"$conf"; fi
"$IPVSD" check-config "$conf"

if [ -d /run/systemd/system ]; then
	install -m 755 "$IPVSD" /usr/sbin/ipvsd
	install -m 644 "$PROJECT/conf/sysctl.d/90-ipvsd-director.conf" /etc/sysctl.d/
	install -m 644 "$PROJECT/conf/systemd/ipvsd.service" /etc/systemd/system/
	sysctl -q --system
	programs
	systemctl daemon-reload
	if [ "$start" = yes ]; then systemctl enable ipvsd && systemctl restart ipvsd; else systemctl disable --now ipvsd; fi
elif [ "$start" = yes ]; then
	setsid "$IPVSD" run -c "$conf" --run-dir "$run_dir" </dev/null >"$run_dir/director.log" 2>&1 &
	echo $! >"$run_dir/director.pid"
fi
echo "$(hostname): director $number of ${scenario:-web}"
