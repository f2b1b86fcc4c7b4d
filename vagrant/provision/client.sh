#!/bin/bash
# Asks the virtual addresses and says who answered how often.
#
#   VIP4 VIP6  the virtual addresses, either may be empty
#   REQUESTS   how many for each, 20 unless told
#   PATIENCE   seconds to wait for the first answer, 30 unless told
#
# Ends with 1 where an address is not answered. Needs nothing but bash.
set -uo pipefail

# Prints the body of one HTTP answer.
ask() {
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
