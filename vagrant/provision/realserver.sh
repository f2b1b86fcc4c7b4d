#!/bin/bash
# Makes this host a real server: the virtual addresses, and a server that says the host's name.
#
#   IPVSD      the ipvsd binary                    PROJECT  the project's folder (needed with systemd only)
#   VIP4 VIP6  the virtual addresses, several parted by blanks; both empty: a server without any
#   MODE       dr (unless told) or tun             RUN_DIR  where ipvsd keeps its record, /run/ipvsd unless told
#   SERVICE    web (unless told), proxy with two back ends of its own, or sql; PORT for sql, 3306 unless told
#
# With systemd the unit of realserver/ is installed and the server comes from Debian. Without, the addresses are put on at
# once and the server is somebody else's business: so it is on the lab's hosts.
set -euo pipefail

: "${IPVSD:?the path of the ipvsd binary}"
# Word by word.
# shellcheck disable=SC2086
vips=$(printf '%s\n' ${VIP4-192.0.2.200} ${VIP6-} | sed '/^$/d' | paste -sd,)
options=(--mode "${MODE:-dr}" --vip "$vips")

packages() { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy "$@"; }

web() {
	command -v nginx >/dev/null || packages nginx-light
	hostname >/var/www/html/index.html
	rm -f /var/www/html/index.nginx-debian.html
	systemctl restart nginx
}

# /shop goes to one back end, all else to the other one; both are on this host.
proxy() {
	command -v nginx >/dev/null || packages nginx-light
	cat >/etc/nginx/sites-enabled/default <<-NGINX
		server { listen 127.0.0.1:8081; location / { return 200 "shop of $(hostname)\n"; } }
		server { listen 127.0.0.1:8082; location / { return 200 "$(hostname)\n"; } }
		server {
			listen 80 default_server;
			location /shop { proxy_pass http://127.0.0.1:8081; }
			location / { proxy_pass http://127.0.0.1:8082; }
		}
	NGINX
	systemctl restart nginx
}

# Who asks may log in as app; the check logs in as ipvsd, who may do nothing else.
sql() {
	command -v mariadbd >/dev/null || packages mariadb-server
	printf '[mariadbd]\nbind-address = 0.0.0.0\nport = %s\nskip-name-resolve\n' "${PORT:-3306}" \
		>/etc/mysql/mariadb.conf.d/99-ipvsd-lab.cnf
	systemctl restart mariadb
	mariadb <<-SQL
		CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';
		CREATE USER IF NOT EXISTS ipvsd@'192.0.2.%' IDENTIFIED BY 'only to log in';
	SQL
}

if [ -d /run/systemd/system ]; then
	install -m 755 "$IPVSD" /usr/sbin/ipvsd
	if [ -n "$vips" ]; then
		install -m 644 "$PROJECT/realserver/90-ipvsd-realserver.conf" /etc/sysctl.d/
		install -m 644 "$PROJECT/realserver/ipvsd-realserver.service" /etc/systemd/system/
		echo "REALSERVER_OPTIONS=\"${options[*]}\"" >/etc/default/ipvsd-realserver
		systemctl daemon-reload
		systemctl enable ipvsd-realserver
		systemctl restart ipvsd-realserver
	fi
	case ${SERVICE:-web} in
	web) web ;;
	proxy) proxy ;;
	sql) sql ;;
	*) echo "there is no service $SERVICE (web, proxy, sql)" >&2; exit 1 ;;
	esac
	status=(/usr/sbin/ipvsd realserver status)
elif [ -n "$vips" ]; then
	"$IPVSD" realserver up "${options[@]}" --run-dir "${RUN_DIR:-/run/ipvsd}"
	status=("$IPVSD" realserver status --run-dir "${RUN_DIR:-/run/ipvsd}")
fi
[ -z "$vips" ] || "${status[@]}"
