#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make demo`: a node with three pods, started by containerd and runc through our plugin, and what Warren shows of them.
# The node is made of namespaces (examples/lab/node): nothing of it is seen outside, and nothing stays.
#
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
lab=$PWD/examples/lab
node=demo
pods=(a b c)
failures=0
export WARREN_BUILD=$PWD/build

if [ "$(id -u)" != 0 ]; then
	echo "The demo makes namespaces and loads programs: run it as root (sudo make demo)." >&2
	exit 1
fi

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' red='' plain=''; fi

title() {
	printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
}

say() {
	printf '\n%s\n' "$*" | fmt -w 100
}

prompt() {
	printf '\n%s%s$%s %s\n' "$dim" "$1" "$plain" "$2"
}

# A command on the node, shown before its output.
on_node() {
	prompt node "$*"
	"$lab/node" exec $node "$@"
}

in_pod() {
	local pod=$1
	shift
	"$lab/containerd" exec $node "$pod" "$@" </dev/null
}

cleanup() {
	local status=$?
	trap '' INT TERM
	[ -z "${node_up:-}" ] || {
		title "Cleaning up"
		[ -z "${containerd_up:-}" ] || "$lab/containerd" down $node || true
		"$lab/node" down $node
		echo "The node is gone, with all that was in it."
	}
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- build -----------------------------------------------------------------------------------------------------------------

title "Building"
make -s deps
mkdir -p build
make -j"$(nproc)" all >build/demo.log 2>&1 || { tail -n 30 build/demo.log; exit 1; }
ls -sh build/warren-cni build/warren
say "The plugin and the command line tool. The BPF programs are inside both; no compiler is needed where they run."

# --- node ------------------------------------------------------------------------------------------------------------------

title "A node"
"$lab/node" up $node
node_up=1
"$lab/node" exec $node cp "$PWD/examples/10-warren.conflist" /etc/cni/net.d/
say "Network, mount, process and host name of its own; our plugin in /opt/cni/bin and this in /etc/cni/net.d:"
on_node cat /etc/cni/net.d/10-warren.conflist

title "Three pods"
containerd_up=1
"$lab/containerd" up $node
prompt node "ctr run --rm --cni ... warren.example/busybox:1 POD    # for each of: ${pods[*]}"
for pod in "${pods[@]}"; do
	# The last one may change its own addresses: it will try to be somebody else.
	if [ "$pod" = c ]; then options=(--cap-add CAP_NET_ADMIN); else options=(); fi
	"$lab/containerd" run $node "$pod" "${options[@]}"
done
say "containerd asked libcni, libcni ran warren-cni, and that loaded the BPF programs (nobody had), wired each pod and" \
	"was gone: there is no daemon."
on_node warren endpoint list
on_node warren status

prompt "pod a" "ip address show eth0; ip route"
in_pod a ip address show eth0
in_pod a ip route
say "A pod has single addresses and a gateway that is the same everywhere and answers from within the BPF program."

# --- traffic ---------------------------------------------------------------------------------------------------------------

title "Everybody talks with everybody"
say "Each pod pings each other one, and fetches its name by HTTP, over IPv4 and IPv6; so does the node itself."

declare -A ip4 ip6
for pod in "${pods[@]}"; do
	ip4[$pod]=$(in_pod "$pod" ip -o -4 address show eth0 | awk '{ sub("/.*", "", $4); print $4; exit }')
	ip6[$pod]=$(in_pod "$pod" ip -o -6 address show eth0 scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
done

from() { # WHO COMMAND...
	if [ "$1" = node ]; then
		"$lab/node" exec $node busybox "${@:2}" </dev/null
	else
		in_pod "$@"
	fi
}

ping_cell() { # FROM ADDRESS
	from "$1" ping -c 1 -W 5 "$2" 2>&1 | sed -n 's/.* time=//p'
}

http_cell() { # FROM ADDRESS NAME
	[ "$(from "$1" timeout 10 busybox wget -q -O - "http://$2/" 2>&1)" = "$3" ] && echo ok
}

row='%-7s %-6s %-12s %-12s %-10s %-10s\n'
echo
# shellcheck disable=SC2059 # one format for all rows
printf "$row" FROM TO "PING IPv4" "PING IPv6" "HTTP IPv4" "HTTP IPv6"
for source in "${pods[@]}" node; do
	for target in "${pods[@]}"; do
		[ "$source" != "$target" ] || continue
		cells=("$(ping_cell "$source" "${ip4[$target]}")" "$(ping_cell "$source" "${ip6[$target]}")"
			"$(http_cell "$source" "${ip4[$target]}" "$target")" "$(http_cell "$source" "[${ip6[$target]}]" "$target")")
		for i in "${!cells[@]}"; do
			[ -n "${cells[i]}" ] || { cells[i]=FAILED; failures=$((failures + 1)); }
		done
		# shellcheck disable=SC2059
		printf "$row" "$source" "$target" "${cells[@]}"
	done
done

# --- a drop ----------------------------------------------------------------------------------------------------------------

title "A pod that lies about its address"
say "Pod c gives itself two more addresses and pings pod a from them. The program at its wire knows which addresses are" \
	"c's, drops the rest and says so; \`warren monitor\` prints each drop as it happens."
prompt "pod c" "ip address add 10.87.0.99/32 dev eth0; ip address add fd00:87::99/128 dev eth0"
in_pod c ip address add 10.87.0.99/32 dev eth0
in_pod c ip address add fd00:87::99/128 dev eth0
prompt "pod c" "ping -I 10.87.0.99 ${ip4[a]}; ping -I fd00:87::99 ${ip6[a]}"
prompt node "warren monitor --reason spoofed_source --count 2"
exec {monitor}< <(exec "$lab/node" exec $node warren monitor --reason spoofed_source --count 2 --timeout 20 2>&1)
monitor_pid=$!
read -r line <&"$monitor" # it says when it listens
echo "$line"
for lie in "10.87.0.99 ${ip4[a]}" "fd00:87::99 ${ip6[a]}"; do
	read -r false_address target <<<"$lie"
	# A new IPv6 address is not usable before the pod's kernel has looked for duplicates, for about a second.
	while kill -0 $monitor_pid 2>/dev/null; do
		attempt=$(in_pod c ping -c 1 -W 1 -I "$false_address" "$target" 2>&1) || true
		[[ $attempt != *transmitted* ]] || break
	done
done
drops=$(cat <&"$monitor")
echo "$drops"
for false_address in 10.87.0.99 fd00:87::99; do
	grep -q "spoofed_source.*$false_address" <<<"$drops" || {
		echo "${red}FAILED: no drop of $false_address was seen$plain"
		failures=$((failures + 1))
	}
done

# --- maps ------------------------------------------------------------------------------------------------------------------

title "What the programs know"
say "All state is in BPF maps, which outlive every program. \`warren map dump\` decodes each of them."
on_node warren map list
on_node warren map dump endpoints
on_node warren map dump addr4
on_node warren map dump addr6
say "And what happened to packets so far, by reason:"
on_node warren metrics

title "A pod ends"
prompt node "kill pod c"
"$lab/containerd" kill $node c
on_node warren endpoint list

title "Result"
if [ $failures = 0 ]; then
	echo "Everything worked. examples/README.md shows how to do this by hand."
else
	echo "${red}$failures things did not work.$plain"
	exit 1
fi
