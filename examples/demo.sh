#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make demo`: a node with a three-tier application in pods, started by containerd and runc through our plugin; who reaches
# whom without an agent, with one, and under policy; and what Warren says of it all. The node is made of namespaces
# (examples/lab/node): nothing of it is seen outside, and nothing stays.
#
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
lab=$PWD/examples/lab
node=demo
tiers=(web api db dns) # and a client
declare -A pod=([client]=visitors/client [web]=shop/web [api]=shop/api [db]=shop/db [dns]=infra/dns)
declare -A port=([web]=80 [api]=8080 [db]=5432 [dns]=53)
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

# A shell script in a pod.
in_pod() { # NAME SCRIPT
	"$lab/containerd" exec $node "${pod[$1]/\//.}" sh -c "$2" </dev/null
}

# A shell script of the node's, in its own network or in a pod's.
from() { # NAME SCRIPT
	"$lab/node" exec $node nsenter --net="/proc/${pid[$1]}/ns/net" busybox sh -c "$2" </dev/null
}

fail() {
	echo "${red}FAILED: $*$plain"
	failures=$((failures + 1))
}

# Polls for what nothing announces.
await() { # WHAT COMMAND...
	local end=$((SECONDS + 10))
	until "${@:2}"; do
		[ $SECONDS -lt $end ] || { fail "waited in vain: $1"; return 1; }
		sleep 0.02
	done
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
ls -sh build/warren-cni build/warren-agent build/warren
say "Plugin, agent and command line tool. The BPF programs are inside; no compiler is needed where they run."

# --- node ------------------------------------------------------------------------------------------------------------------

title "A node"
"$lab/node" up $node
node_up=1
root=/proc/$("$lab/node" pid $node)/root # the node's files, from here
cp examples/40-agent.conflist "$root/etc/cni/net.d/"
say "Network, mount, process and host name of its own; our plugin in /opt/cni/bin and this in /etc/cni/net.d:"
on_node cat /etc/cni/net.d/40-agent.conflist

title "Five pods, and no agent"
containerd_up=1
"$lab/containerd" up $node
prompt node "ctr run --rm --cni ... warren.example/busybox:1 POD    # for each of: client ${tiers[*]}"
starting=()
for name in client "${tiers[@]}"; do
	options=(--env "PORT=${port[$name]:-80}")
	# This one may change its own addresses: it will try to be somebody else.
	[ "$name" != client ] || options+=(--cap-add CAP_NET_ADMIN)
	"$lab/containerd" run $node "${pod[$name]/\//.}" "${options[@]}" &
	starting+=($!)
done
for job in "${starting[@]}"; do
	wait "$job"
done
say "containerd asked libcni, libcni ran warren-cni, and that loaded the BPF programs (nobody had) and wired each pod." \
	"The configuration leaves policy to an agent, and none runs: pods start all the same, but in quarantine, where only" \
	"their own node can talk with them."
on_node warren endpoint list

endpoints() { # JQ-FILTER ARGUMENT...
	"$lab/node" exec $node warren endpoint list --json | jq -re "$@"
}

declare -A address pid=([node]=1)
# shellcheck disable=SC2016 # $pod is jq's
for name in client "${tiers[@]}"; do
	read -r address["$name 4"] address["$name 6"] < <(
		endpoints --arg pod "${pod[$name]}" '.[] | select(.pod == $pod) | .addresses | join(" ")')
	pid[$name]=$("$lab/containerd" pid $node "${pod[$name]/\//.}")
done

# --- who reaches whom ------------------------------------------------------------------------------------------------------

# The command by which somebody asks a tier, over IPv4 or IPv6.
ask() { # TIER FAMILY
	local host=${address[$1 $2]}
	[ "$2" = 4 ] || host="[$host]"
	if [ "$1" = dns ]; then
		echo "busybox nslookup web.shop ${host//[][]/}"
	else
		echo "busybox wget -q -O - http://$host:${port[$1]}/"
	fi
}

# Prints "TIER FAMILY" of all that answer. What is expected to answer has time.
reach() { # FROM EXPECTED-TIER...
	local tier family script='' limit
	for tier in "${tiers[@]}"; do
		[ "$tier" != "$1" ] || continue
		[[ " ${*:2} " = *" $tier "* ]] && limit=10 || limit=1
		for family in 4 6; do
			script+="timeout $limit $(ask "$tier" $family) >/dev/null 2>&1 && echo $tier $family & "
		done
	done
	from "$1" "$script wait"
}

# Everybody asks every tier; `expected` says who is to get answers: [FROM]="TIER...".
matrix() {
	local row='%-10s %-8s %-8s %-8s %-8s\n' source tier got cell wanted job
	local -a cells asking=()
	for source in client web api db node; do
		# shellcheck disable=SC2086 # words
		reach $source ${expected[$source]} >"$root/run/reach.$source" &
		asking+=($!)
	done
	for job in "${asking[@]}"; do
		wait "$job" || true
	done
	echo
	# shellcheck disable=SC2059 # one format for all rows
	printf "$row" 'FROM \ TO' web:80 api:8080 db:5432 dns:53/udp
	for source in client web api db node; do
		got=$(sort "$root/run/reach.$source")
		cells=()
		for tier in "${tiers[@]}"; do
			case $(grep "^$tier " <<<"$got" | tr -d '\n') in
			"$tier 4$tier 6") cell=yes ;;
			'') cell=- ;;
			*) cell='one IP' ;;
			esac
			[[ " ${expected[$source]} " = *" $tier "* ]] && wanted=yes || wanted=-
			[ "$tier" != $source ] || wanted=-
			[ "$cell" = $wanted ] || { cell=FAILED; failures=$((failures + 1)); }
			cells+=("$cell")
		done
		# shellcheck disable=SC2059
		printf "$row" $source "${cells[@]}"
	done
}

# What a pod's name server would know. It is no part of the image.
names=()
for name in "${tiers[@]}"; do
	names+=("${pod[$name]#*/}.${pod[$name]%/*}=${address[$name 4]}" "${pod[$name]#*/}.${pod[$name]%/*}=${address[$name 6]}")
done
exec {dns}< <(exec "$lab/node" exec $node nsenter --net="/proc/${pid[dns]}/ns/net" "$lab/dns" "${names[@]}")
read -r _ <&"$dns" # "serving"

title "Quarantine"
declare -A expected=([client]='' [web]='' [api]='' [db]='' [node]="${tiers[*]}")
say "HTTP over TCP, and a name server by UDP, over IPv4 and IPv6 (\"yes\": both):"
matrix

# --- agent -----------------------------------------------------------------------------------------------------------------

title "An agent"
mkdir "$root/run/manifests"
cp examples/policy/cluster.yaml "$root/run/manifests/"
say "It follows a directory of Kubernetes manifests. There is one file yet, with the namespaces and pods, and no policy." \
	"What no policy selects is not isolated:"
prompt node "warren-agent --manifests /run/manifests &"
"$lab/node" exec $node warren-agent --manifests /run/manifests </dev/null >"$root/run/agent.log" 2>&1 &
disown
released() {
	endpoints 'all(.class != 0)' >/dev/null
}
await "the pods leave quarantine" released || { cat "$root/run/agent.log"; exit 1; }
for source in client web api db; do
	expected[$source]=${tiers[*]}
done
matrix

# --- a drop ----------------------------------------------------------------------------------------------------------------

title "A pod that lies about its address"
say "The client gives itself another address and pings web from it. The program at its wire knows which addresses are" \
	"the client's, drops the rest and says so; \`warren monitor\` prints each drop as it happens."
prompt "pod client" "ip address add 10.87.0.99/32 dev eth0; ping -I 10.87.0.99 ${address[web 4]}"
prompt node "warren monitor --reason spoofed_source --count 1"

# Starts `warren monitor`, whose next line is read by `read -r line <&$monitor`.
watch() { # MONITOR-OPTION...
	local line
	exec {monitor}< <(exec "$lab/node" exec $node warren monitor "$@" --count 1 --timeout 20 2>&1)
	read -r line <&"$monitor" # it says when it listens
}

watch --reason spoofed_source
in_pod client "ip address add 10.87.0.99/32 dev eth0; ping -c 1 -W 1 -I 10.87.0.99 ${address[web 4]} >/dev/null" || true
read -r line <&"$monitor" || true
echo "$line"
[[ $line == *spoofed_source*10.87.0.99* ]] || fail "no drop of 10.87.0.99 was seen"
exec {monitor}<&-

# --- policy ----------------------------------------------------------------------------------------------------------------

title "Policy"
say "The shop's policies: nothing passes but visitors to web, web to api, api to db, and names (examples/policy):"
prompt node "cp examples/policy/*.yaml /run/manifests/"
cp examples/policy/*.yaml "$root/run/manifests/"
isolated() {
	"$lab/node" exec $node warren policy list --json | jq -e 'length == 5' >/dev/null &&
		endpoints '[.[] | select(.class > 1)] | length == 3' >/dev/null
}
await "the shop's pods are isolated" isolated || { cat "$root/run/agent.log"; exit 1; }
on_node warren policy list
expected=([client]='web dns' [web]='api dns' [api]='db dns' [db]=dns [node]="${tiers[*]}")
matrix

title "Why, and why not"
say "A dry run of the very programs that are attached, on a packet that is never sent:"
on_node warren trace "${pod[web]}" "${pod[api]}:8080/tcp"
on_node warren trace "${pod[client]}" "${pod[db]}:5432/tcp"

# --- a live connection -----------------------------------------------------------------------------------------------------

title "A live connection"
say "The api pod reads an endless answer from db. A manifest that takes the rule away is renamed into place; after that," \
	"not one packet of the connection passes. With the rule back, it goes on where it was."

put() { # FILE
	cp "$1" "$root/run/manifests/.new"
	renamed=$EPOCHREALTIME
	mv "$root/run/manifests/.new" "$root/run/manifests/db.yaml"
}

from api "$(ask db 4)cgi-bin/ticks" >"$root/run/ticks" 2>/dev/null &
disown
grows() {
	local bytes
	bytes=$(stat -c %s "$root/run/ticks")
	sleep 0.2
	[ "$(stat -c %s "$root/run/ticks")" -gt "$bytes" ]
}
await "the connection stands" grows
watch --reason ingress_denied
prompt node "mv maintenance/db.yaml /run/manifests/db.yaml"
put examples/policy/maintenance/db.yaml
read -r line <&"$monitor" || true
dropped=$EPOCHREALTIME
exec {monitor}<&-
echo "$line"
if [[ $line == *shop/api*ingress_denied* || $line == *shop/db*ingress_denied* ]] && ! grows; then
	awk -v a="$renamed" -v b="$dropped" 'BEGIN { printf "cut %.1f ms after the rename\n", (b - a) * 1000 }'
else
	fail "the connection was not cut"
fi
prompt node "mv db.yaml /run/manifests/db.yaml"
put examples/policy/db.yaml
await "the connection goes on" grows
echo "it goes on"

# --- maps ------------------------------------------------------------------------------------------------------------------

title "What the programs know"
say "All state is in BPF maps, which outlive every process. \`warren map list\` names them, \`warren map dump\` decodes each:"
on_node warren map dump endpoints
on_node warren map dump policy
say "And what happened to packets so far, by reason:"
on_node warren metrics
on_node warren status || fail "something is wrong with the node"

title "A pod ends"
prompt node "kill pod client"
"$lab/containerd" kill $node visitors.client
on_node warren endpoint list

title "Result"
if [ $failures = 0 ]; then
	echo "Everything worked. examples/README.md shows how to do this by hand."
else
	echo "${red}$failures things did not work.$plain"
	exit 1
fi
