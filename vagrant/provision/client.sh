#!/bin/bash
# Asks the virtual addresses and says who answered how often.
#
#   VIP4 VIP6  the virtual addresses, several parted by blanks; either may be empty
#   SQL        the port of MySQL servers; without it web servers are asked, at port 80
#   REQUESTS   how many for each, 20 unless told
#   PATIENCE   seconds to wait for the first answer, 30 unless told
#
# Ends with 1 where an address is not answered. Needs nothing but bash, and for SQL Debian's mariadb-client.
set -uo pipefail

# Prints who answers one connection: the body of an HTTP answer, or the server's name.
ask() {
	if [ -n "${SQL-}" ]; then
		mariadb --no-defaults --protocol=tcp --connect-timeout=3 --batch --skip-column-names --host="$1" --port="$SQL" \
			--user=app --password=app --execute='SELECT @@hostname' 2>/dev/null
		return
	fi
	timeout 3 bash -c '
		exec 3<>"/dev/tcp/$1/80" || exit 1
		printf "GET / HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" >&3
		sed "1,/^\r*$/d" <&3' ask "$1" 2>/dev/null
}

requests() {
	local request answer missing=0
	for ((request = 0; request < ${REQUESTS:-20}; request++)); do
		answer=$(ask "$1")
		echo "$1: ${answer:-no answer}"
		[ -n "$answer" ] || missing=1
	done
	return "$missing"
}

if [ -n "${SQL-}" ] && ! command -v mariadb >/dev/null; then
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy mariadb-client || exit
fi
failed=0
for vip in ${VIP4-192.0.2.200} ${VIP6-}; do
	until [ -n "$(ask "$vip")" ]; do
		if [ "$SECONDS" -ge "${PATIENCE:-30}" ]; then
			echo "$vip: no answer within ${PATIENCE:-30} s" >&2
			failed=1
			continue 2
		fi
		sleep 0.2
	done
	requests "$vip" | sort | uniq -c || failed=1
done
exit "$failed"
