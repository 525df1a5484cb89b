#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make demo`: two nodes with a three-tier application in pods, started by containerd and runc through our plugin; which
# of them reach each other without agents, with them, and under policy; and what Warren reports of it. The nodes are
# made of namespaces (examples/lab/cluster): they are not visible outside, and nothing stays.
#
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
lab=$PWD/examples/lab
nodes=(demo1 demo2)
tiers=(web api db dns) # and a client
declare -A pod=([client]=visitors/client [web]=shop/web [api]=shop/api [db]=shop/db [dns]=infra/dns)
# The tiers that a client's request passes through, each on another node than the one before it.
declare -A at=([client]=demo1 [web]=demo2 [api]=demo1 [db]=demo2 [dns]=demo1 [demo1]=demo1 [demo2]=demo2)
declare -A port=([web]=80 [api]=8080 [db]=5432 [dns]=53)
timeout=30 # seconds, for what must happen
failures=0
export WARREN_BUILD=$PWD/build LAB_CLUSTER=demo

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

# A command on a node, shown before its output.
on() { # NODE COMMAND...
	prompt "$1" "${*:2}"
	"$lab/node" exec "$@"
}

# A shell script in a pod.
in_pod() { # NAME SCRIPT
	"$lab/containerd" exec "${at[$1]}" "${pod[$1]/\//.}" sh -c "$2" </dev/null
}

# A shell script of a node's, in its own network or in a pod's.
from() { # NAME SCRIPT
	"$lab/node" exec "${at[$1]}" nsenter --net="/proc/${pid[$1]}/ns/net" busybox sh -c "$2" </dev/null
}

fail() {
	echo "${red}FAILED: $*$plain"
	failures=$((failures + 1))
}

# Polls for state without notifications.
await() { # WHAT COMMAND...
	local end=$((SECONDS + timeout))
	until "${@:2}"; do
		[ $SECONDS -lt $end ] || { fail "timed out: $1"; return 1; }
		sleep 0.02
	done
}

cleanup() {
	local status=$?
	trap '' INT TERM
	[ -z "${cluster_up:-}" ] || {
		title "Cleaning up"
		"$lab/cluster" down
		echo "The nodes are gone, with all that was in them."
	}
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- build -----------------------------------------------------------------------------------------------------------------

title "Building"
make -s demo-deps
mkdir -p build
make -j"$(nproc)" all >build/demo.log 2>&1 || { tail -n 30 build/demo.log; exit 1; }
ls -sh build/warren-cni build/warren-agent build/warren
say "Plugin, agent and command line tool. The BPF programs are inside; no compiler is needed where they run."

# --- nodes -----------------------------------------------------------------------------------------------------------------

title "Two nodes"
"$lab/cluster" nodes ${#nodes[@]}
cluster_up=1
root=/proc/$("$lab/node" pid demo1)/root # a node's files, from here
manifests=$root/run/manifests            # which is one directory for all of them
say "Network, mount, process and host names of their own, on one switch, which is the third namespace. Each has our plugin" \
	"in /opt/cni/bin, and addresses for its pods in /etc/cni/net.d:"
on demo1 cat /etc/cni/net.d/40-agent.conflist

title "Five pods, and no agent"
in_parallel() { # JOB ARGUMENT...: the job with each argument
	local job jobs=() argument
	for argument in "${@:2}"; do
		"$1" "$argument" &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do
		wait "$job"
	done
}
start_containerd() {
	"$lab/containerd" up "$1"
}
start_pod() {
	local options=(--env "PORT=${port[$1]:-80}")
	# This one may change its own addresses: it will try another pod's address.
	[ "$1" != client ] || options+=(--cap-add CAP_NET_ADMIN)
	"$lab/containerd" run "${at[$1]}" "${pod[$1]/\//.}" "${options[@]}"
}
in_parallel start_containerd "${nodes[@]}"
prompt node "ctr run --rm --cni ... warren.example/busybox:1 POD    # for each of: client ${tiers[*]}"
in_parallel start_pod client "${tiers[@]}"
say "containerd called libcni, libcni ran warren-cni, and that loaded the BPF programs (once) and attached each pod." \
	"The configuration leaves policy to an agent, and none runs: pods start all the same, but in quarantine, where only" \
	"their own node can talk with them."
on demo1 warren endpoint list
on demo2 warren endpoint list

# Those of all nodes, as one list.
endpoints() { # JQ-FILTER ARGUMENT...
	local node
	for node in "${nodes[@]}"; do
		"$lab/node" exec "$node" warren endpoint list --json
	done | jq -s add | jq -re "$@"
}

declare -A address pid=([demo1]=1 [demo2]=1)
# shellcheck disable=SC2016 # $pod is jq's
for name in client "${tiers[@]}"; do
	read -r address["$name 4"] address["$name 6"] < <(
		endpoints --arg pod "${pod[$name]}" '.[] | select(.pod == $pod) | .addresses | join(" ")')
	pid[$name]=$("$lab/containerd" pid "${at[$name]}" "${pod[$name]/\//.}")
done

# --- who reaches whom ------------------------------------------------------------------------------------------------------

# The command that sends a request to a tier, over IPv4 or IPv6.
ask() { # TIER FAMILY
	local host=${address[$1 $2]}
	[ "$2" = 4 ] || host="[$host]"
	if [ "$1" = dns ]; then
		echo "busybox nslookup web.shop ${host//[][]/}"
	else
		echo "busybox wget -q -O - http://$host:${port[$1]}/"
	fi
}

# Prints "TIER FAMILY" for each that replies. Those that are expected to reply get the long timeout.
reach() { # FROM EXPECTED-TIER...
	local tier family script='' limit
	for tier in "${tiers[@]}"; do
		[ "$tier" != "$1" ] || continue
		[[ " ${*:2} " = *" $tier "* ]] && limit=$timeout || limit=1
		for family in 4 6; do
			script+="timeout $limit $(ask "$tier" $family) >/dev/null 2>&1 && echo $tier $family & "
		done
	done
	from "$1" "$script wait"
}

# Every source connects to every tier; `expected` has the tiers that must reply: [FROM]="TIER...".
matrix() {
	local row='%-14s %-8s %-8s %-8s %-8s\n' source tier got cell goal job
	local tiers_at=() sources=(client web api db "${nodes[@]}")
	local -a cells asking=()
	for tier in "${tiers[@]}"; do
		tiers_at+=("@${at[$tier]}")
	done
	for source in "${sources[@]}"; do
		# shellcheck disable=SC2086 # words
		reach "$source" ${expected[$source]} >"$root/run/reach.$source" &
		asking+=($!)
	done
	for job in "${asking[@]}"; do
		wait "$job" || true
	done
	echo
	# shellcheck disable=SC2059 # one format for all rows
	printf "$row" 'FROM \ TO' web:80 api:8080 db:5432 dns:53/udp
	# shellcheck disable=SC2059
	printf "$row" '' "${tiers_at[@]}"
	for source in "${sources[@]}"; do
		got=$(sort "$root/run/reach.$source")
		cells=()
		for tier in "${tiers[@]}"; do
			case $(grep "^$tier " <<<"$got" | tr -d '\n') in
			"$tier 4$tier 6") cell=yes ;;
			'') cell=- ;;
			*) cell='one IP' ;;
			esac
			[[ " ${expected[$source]} " = *" $tier "* ]] && goal=yes || goal=-
			[ "$tier" != "$source" ] || goal=-
			[ "$cell" = $goal ] || { cell=FAILED; failures=$((failures + 1)); }
			cells+=("$cell")
		done
		[ "${at[$source]}" = "$source" ] && cell=$source || cell="$source@${at[$source]}"
		# shellcheck disable=SC2059
		printf "$row" "$cell" "${cells[@]}"
	done
}

# The records of a pod's name server, which is no part of the image.
names=()
for name in "${tiers[@]}"; do
	names+=("${pod[$name]#*/}.${pod[$name]%/*}=${address[$name 4]}" "${pod[$name]#*/}.${pod[$name]%/*}=${address[$name 6]}")
done
exec {dns}< <(exec "$lab/node" exec "${at[dns]}" nsenter --net="/proc/${pid[dns]}/ns/net" "$lab/dns" "${names[@]}")
read -r _ <&"$dns" # "serving"

title "Quarantine"
declare -A expected=([client]='' [web]='' [api]='' [db]='' [demo1]='api dns' [demo2]='web db')
say "HTTP over TCP, and a name server by UDP, over IPv4 and IPv6 (\"yes\": both):"
matrix

# --- agent -----------------------------------------------------------------------------------------------------------------

title "An agent on each node"
say "They follow a directory of Kubernetes manifests, which both nodes see. There are the nodes, with their addresses and" \
	"the pods' (\`podCIDRs\`), and the namespaces and pods, and no policy. What no policy selects is not isolated:"
on demo1 cat /run/manifests/node-demo2.yaml
# With the pods' nodes and addresses, as kubelets would report them.
"$lab/cluster" report examples/policy/cluster.yaml >"$root/run/cluster.yaml"
cp "$root/run/cluster.yaml" "$manifests/"
for name in "${nodes[@]}"; do
	prompt "$name" "warren-agent --manifests /run/manifests --cluster-key /run/cluster.key --node-name $name &"
	"$lab/cluster" agent "$name"
done
agent_logs() {
	local name
	for name in "${nodes[@]}"; do
		"$lab/node" exec "$name" cat /run/agent.log
	done
}
released() {
	endpoints 'all(.class != 0)' >/dev/null
}
joined() {
	from demo1 "ping -c 1 -W 1 ${address[web 4]} >/dev/null" && from demo2 "ping -c 1 -W 1 ${address[api 6]} >/dev/null"
}
await "the pods leave quarantine" released || { agent_logs; exit 1; }
await "the nodes reach each other's pods" joined || { agent_logs; exit 1; }
for source in client web api db "${nodes[@]}"; do
	expected[$source]=${tiers[*]}
done
matrix
on demo1 warren node list

# --- a packet --------------------------------------------------------------------------------------------------------------

title "What passes between the nodes"
say "Web asks api. On the switch, that is Geneve (RFC 8926) with one option: who sent it, as a number that every node" \
	"computes from the sender's labels. (The first packet of the connection, by tshark.)"
prompt switch "tcpdump -ni lan -c 1 -w packet.pcap udp dst port 6081; tshark -r packet.pcap -O geneve"
capture=$root/run/packet.pcap
exec {tcpdump}< <(exec "$lab/node" exec demo-lan tcpdump -ni lan -Z root -c 1 -U -w - "ip src 198.18.10.2 and udp dst port 6081" 2>&1 >"$capture")
read -r _ <&"$tcpdump" # it reports when it listens
from web "$(ask api 4) >/dev/null" || fail "web does not reach api"
read -r -t "$timeout" _ <&"$tcpdump" || true # and when it has seen it
dissected=$(tshark -r "$capture" -O geneve 2>/dev/null | grep -E '^(Ethernet|Internet|User|Generic|Transmission)|Virtual Network|Option|Class:')
cut -c 1-120 <<<"$dissected"
identity=${dissected##*Unknown Option Data: }
on demo1 warren identity get "0x${identity%%$'\n'*}" || fail "no identity in the packet"

# --- a drop ----------------------------------------------------------------------------------------------------------------

title "A pod that lies about its address"
say "The client gives itself another address and pings web from it. The program at its wire knows which addresses are" \
	"the client's, drops the rest and says so; \`warren monitor\` prints each drop as it happens."
prompt "pod client" "ip address add 10.87.1.99/32 dev eth0; ping -I 10.87.1.99 ${address[web 4]}"
prompt demo1 "warren monitor --reason spoofed_source --count 1"

# Starts `warren monitor`, whose next line is read by `read -r line <&$monitor`.
watch() { # NODE MONITOR-OPTION...
	local line
	exec {monitor}< <(exec "$lab/node" exec "$1" warren monitor "${@:2}" --count 1 --timeout $timeout 2>&1)
	read -r line <&"$monitor" # it reports when it listens
}

watch demo1 --reason spoofed_source
in_pod client "ip address add 10.87.1.99/32 dev eth0; ping -c 1 -W 1 -I 10.87.1.99 ${address[web 4]} >/dev/null" || true
read -r line <&"$monitor" || true
echo "$line"
[[ $line == *spoofed_source*10.87.1.99* ]] || fail "no drop of 10.87.1.99 was seen"
exec {monitor}<&-

# --- a Service -------------------------------------------------------------------------------------------------------------

title "A Service, from outside the cluster"
say "Web, on demo2, and api, on demo1, behind one NodePort. In a cluster the API server and its controllers write such" \
	"objects:"

# The Service shop/entry as a manifest, with these tiers as its endpoints.
entry() { # TIER...
	local tier family
	cat <<-YAML
		apiVersion: v1
		kind: Service
		metadata: {namespace: shop, name: entry}
		spec:
		  type: NodePort
		  clusterIPs: [10.96.0.80, "fd00:96::80"]
		  ports: [{name: http, port: 80, nodePort: $node_port}]
	YAML
	for tier in "$@"; do
		for family in 4 6; do
			cat <<-YAML
				---
				apiVersion: discovery.k8s.io/v1
				kind: EndpointSlice
				metadata: {namespace: shop, name: entry-$tier-$family, labels: {kubernetes.io/service-name: entry}}
				addressType: IPv$family
				endpoints: [{addresses: ["${address[$tier $family]}"]}]
				ports: [{name: http, port: ${port[$tier]}}]
			YAML
		done
	done
}

put_entry() { # TIER...
	entry "$@" >"$manifests/.entry"
	mv "$manifests/.entry" "$manifests/entry.yaml"
}

# Whether both nodes have so many backends for it.
has_backends() { # COUNT
	local node
	for node in "${nodes[@]}"; do
		"$lab/node" exec "$node" warren service get shop/entry --json |
			jq -e --argjson count "$1" '[.. | .backends? | arrays | length] | length > 0 and all(. == $count)' >/dev/null || return
	done
}

# The replies to requests of the switch at both nodes, in both families, and how many there were of each.
ask_entry() { # REQUESTS
	# shellcheck disable=SC2016 # the script's own
	"$lab/node" exec demo-lan sh -euc '
		for i in $(seq "$1"); do
			for node in 198.18.10.1 198.18.10.2 [2001:db8:10::1] [2001:db8:10::2]; do
				timeout "$2" busybox wget -q -O - "http://$node:$3/cgi-bin/client"
			done
		done | sort | uniq -c' ask "$1" $timeout $node_port </dev/null
}

node_port=30080
put_entry web api
cat "$manifests/entry.yaml"
await "both nodes have the Service" has_backends 2 || { agent_logs; exit 1; }
say "The switch is no part of the cluster. It asks both nodes, in both families; whichever node it asks, each of the two pods" \
	"gets requests, also the one on the other node, and sees the switch's own address:"
prompt switch "for node in ...; do wget -q -O - http://\$node:$node_port/cgi-bin/client; done | sort | uniq -c"
replies=$(ask_entry 10)
echo "$replies"
for tier in web api; do
	for client in 198.18.10.254 2001:db8:10::fe; do
		grep -q "shop.$tier has a client at .*$client" <<<"$replies" || fail "$tier has no request of $client"
	done
done
on demo1 warren service get 198.18.10.1:$node_port
on demo1 warren trace 198.18.10.254 198.18.10.1:$node_port/tcp

say "Now web goes from the Service while requests are made. Each of them has its reply; then all go to api:"
prompt demo1 "mv without-web.yaml /run/manifests/entry.yaml"
ask_entry 50 >"$root/run/replies" &
requests=$!
put_entry api
await "both nodes have one backend" has_backends 1
wait $requests || true
lost=$((200 - $(awk '{ n += $1 } END { print n + 0 }' "$root/run/replies")))
[ $lost = 0 ] || fail "$lost of 200 requests had no reply"
replies=$(ask_entry 10)
echo "$replies"
grep -q "shop.web" <<<"$replies" && fail "web still gets requests"
rm "$manifests/entry.yaml"

# --- policy ----------------------------------------------------------------------------------------------------------------

title "Policy"
say "The shop's policies: nothing passes but visitors to web, web to api, api to db, and names (examples/policy):"
policies=(examples/policy/{default-deny,web,api,db}.yaml)
prompt demo1 "cp ${policies[*]##*/} /run/manifests/"
cp "${policies[@]}" "$manifests/"
isolated() {
	local node
	for node in "${nodes[@]}"; do
		"$lab/node" exec "$node" warren policy list --json | jq -e 'length == 5' >/dev/null || return
	done
	endpoints '[.[] | select(.class > 1)] | length == 3' >/dev/null
}
await "the shop's pods are isolated" isolated || { agent_logs; exit 1; }
on demo1 warren policy list
expected=([client]='web dns' [web]='api dns' [api]='db dns' [db]=dns [demo1]='api dns' [demo2]='web db dns')
matrix

title "Why, and why not"
say "The maps name the rule that allows a connection; the agent says why none does, and which one would:"
on demo2 warren policy why "${pod[web]}" "${pod[db]}:5432/tcp"
on demo2 warren policy why "${pod[api]}" "${pod[db]}:5432/tcp"
say "A dry run of the very programs that are attached, on a packet that is never sent:"
on demo2 warren trace "${pod[web]}" "${pod[api]}:8080/tcp"
on demo2 warren trace "${pod[web]}" "${pod[db]}:5432/tcp"

# --- a live connection -----------------------------------------------------------------------------------------------------

title "A live connection"
say "The api pod reads an endless answer from db, on the other node. A manifest that takes the rule away is renamed into place; after that," \
	"not one packet of the connection passes. With the rule back, it goes on where it was."

put() { # FILE
	cp "$1" "$manifests/.new"
	renamed=$EPOCHREALTIME
	mv "$manifests/.new" "$manifests/db.yaml"
}

: >"$root/run/ticks"
from api "$(ask db 4)cgi-bin/ticks" >>"$root/run/ticks" 2>/dev/null &
disown
grows() {
	local bytes
	bytes=$(stat -c %s "$root/run/ticks")
	sleep 0.2
	[ "$(stat -c %s "$root/run/ticks")" -gt "$bytes" ]
}
await "the connection stands" grows
watch demo2 --reason ingress_denied
prompt demo1 "mv maintenance/db.yaml /run/manifests/db.yaml"
put examples/policy/maintenance/db.yaml
read -r line <&"$monitor" || true
dropped=$EPOCHREALTIME
exec {monitor}<&-
echo "$line"
stands_still() {
	! grows
}
if [[ $line == *shop/api*ingress_denied* || $line == *shop/db*ingress_denied* ]] && await "nothing of it passes" stands_still; then
	awk -v a="$renamed" -v b="$dropped" 'BEGIN { printf "cut %.1f ms after the rename\n", (b - a) * 1000 }'
else
	fail "the connection was not cut"
fi
prompt demo1 "mv db.yaml /run/manifests/db.yaml"
put examples/policy/db.yaml
await "the connection goes on" grows
echo "it goes on"

# --- maps ------------------------------------------------------------------------------------------------------------------

title "What the programs know"
say "All state is in BPF maps, which outlive every process. \`warren map list\` names them, \`warren map dump\` decodes each:"
for name in endpoints nodes4 ipcache4 policy; do
	on demo2 warren map dump $name
done
say "And what happened to packets so far, by reason:"
on demo2 warren metrics
for name in "${nodes[@]}"; do
	on "$name" warren status || fail "something is wrong with $name"
done

title "A pod ends"
prompt demo1 "kill pod client"
"$lab/containerd" kill demo1 visitors.client
on demo1 warren endpoint list

title "Result"
if [ $failures = 0 ]; then
	echo "Everything worked. examples/README.md shows how to do this by hand."
else
	echo "${red}$failures things did not work.$plain"
	exit 1
fi
