#!/bin/bash
# Makes this host a real server: the virtual addresses, and a web server that says the host's name.
#
#   IPVSD      the ipvsd binary                    PROJECT  the project's folder (needed with systemd only)
#   VIP4 VIP6  the virtual addresses, either may be empty
#   MODE       dr (unless told) or tun             RUN_DIR  where ipvsd keeps its record, /run/ipvsd unless told
#
# With systemd the unit of realserver/ is installed and nginx comes from Debian. Without, the addresses are put on at
# once and the web server is somebody else's business: so it is on the lab's hosts.
set -euo pipefail

: "${IPVSD:?the path of the ipvsd binary}"
vips=$(printf '%s\n%s\n' "${VIP4-192.0.2.200}" "${VIP6-}" | sed '/^$/d' | paste -sd,)
options=(--mode "${MODE:-dr}" --vip "$vips")

if [ -d /run/systemd/system ]; then
	install -m 755 "$IPVSD" /usr/sbin/ipvsd
	install -m 644 "$PROJECT/realserver/90-ipvsd-realserver.conf" /etc/sysctl.d/
	install -m 644 "$PROJECT/realserver/ipvsd-realserver.service" /etc/systemd/system/
	echo "REALSERVER_OPTIONS=\"${options[*]}\"" >/etc/default/ipvsd-realserver
	systemctl daemon-reload
	systemctl enable ipvsd-realserver
	systemctl restart ipvsd-realserver
	command -v nginx >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy nginx-light; }
	hostname >/var/www/html/index.html
	rm -f /var/www/html/index.nginx-debian.html
	systemctl restart nginx
	status=(/usr/sbin/ipvsd realserver status)
else
	"$IPVSD" realserver up "${options[@]}" --run-dir "${RUN_DIR:-/run/ipvsd}"
	status=("$IPVSD" realserver status --run-dir "${RUN_DIR:-/run/ipvsd}")
fi
"${status[@]}"
