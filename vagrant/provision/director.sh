#!/bin/bash
# Makes this host a director: a configuration, and the daemon that keeps to it.
#
#   IPVSD         the ipvsd binary                 PROJECT   the project's folder (needed with systemd only)
#   VIP4 VIP6     the virtual addresses, either may be empty
#   REAL_SERVERS  the real servers' IPv4 addresses        REAL_SERVERS6  their IPv6 ones, needed with VIP6 only
#   MODE          dr (unless told) or tun          STATE     active (unless told) or standby: configured, not started
#   CONF_DIR      /etc/ipvsd unless told           RUN_DIR   /run/ipvsd unless told
#
# With systemd the unit of conf/ is installed. Without, as on the lab's hosts, the daemon is started in the background
# and its pid written to RUN_DIR/director.pid.
set -euo pipefail

: "${IPVSD:?the path of the ipvsd binary}" "${REAL_SERVERS:?the addresses of the real servers}"
vip4=${VIP4-192.0.2.200} vip6=${VIP6-} mode=${MODE:-dr} state=${STATE:-active}
conf_dir=${CONF_DIR:-/etc/ipvsd} run_dir=${RUN_DIR:-/run/ipvsd}
conf=$conf_dir/ipvsd.toml

# The interface that leads to the real servers.
device=$(ip -o route get "${REAL_SERVERS%% *}" | sed 's/.* dev \([^ ]*\) .*/\1/')

# virtual_server NAME VIP REAL_SERVER...
virtual_server() {
	local name=$1 vip=$2 real
	shift 2
	cat <<-TOML
		[[virtual_server]]
		name = "$name"
		address = "$(with_port "$vip")"
		scheduler = "rr"
		forward = "$mode"
		device = "$device"
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

mkdir -p "$conf_dir" "$run_dir"
# Word by word: a list is one string.
# shellcheck disable=SC2086
{
	[ -z "$vip4" ] || virtual_server web "$vip4" $REAL_SERVERS
	[ -z "$vip6" ] || virtual_server web6 "$vip6" ${REAL_SERVERS6:?the IPv6 addresses of the real servers}
} >"$conf"
"$IPVSD" check-config "$conf"

if [ -d /run/systemd/system ]; then
	install -m 755 "$IPVSD" /usr/sbin/ipvsd
	install -m 644 "$PROJECT/conf/sysctl.d/90-ipvsd-director.conf" /etc/sysctl.d/
	install -m 644 "$PROJECT/conf/systemd/ipvsd.service" /etc/systemd/system/
	sysctl -q --system
	systemctl daemon-reload
	case $state in
	active) systemctl enable ipvsd && systemctl restart ipvsd ;;
	standby) systemctl disable --now ipvsd ;;
	esac
elif [ "$state" = active ]; then
	setsid "$IPVSD" run -c "$conf" --run-dir "$run_dir" </dev/null >"$run_dir/director.log" 2>&1 &
	echo $! >"$run_dir/director.pid"
fi
echo "$(hostname): $state director for ${vip4:+$vip4 }${vip6:+$vip6 }on $device"
