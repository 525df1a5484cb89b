#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# build.sh [PART...]: the networks that Warren is measured beside, into $PEERS (default: build/peers), from published Go modules alone.
# Cold it takes 15 minutes of one processor, then seconds.
#
#   flannel    flanneld
#   cilium     cilium-agent, cilium-operator-generic, cilium-cni, and the programs' sources; clang 19, which the agent runs
#
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
PEERS=${PEERS:-$here/../../build/peers}
FLANNEL=v0.28.4
CILIUM=v1.18.6
mkdir -p "$PEERS/bin"
PEERS=$(cd "$PEERS" && pwd)
PATH=$PATH:/usr/local/go/bin # sudo's PATH has not got it
export GOTOOLCHAIN=auto GOFLAGS="-mod=mod -buildvcs=false -trimpath ${GOFLAGS:-}" GOGC=${GOGC:-400} CGO_ENABLED=0
[ -n "${HOME:-}" ] || export HOME=$PEERS
go=${GO:-$(command -v go)} || { echo "build.sh: no go command" >&2; exit 3; }

# As a directory of its own: what a module replaces counts only where that is the main one.
unpack() { # MODULE@VERSION DIRECTORY
	local from
	[ ! -e "$PEERS/$2/unpacked" ] || return 0
	from=$("$go" mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	rm -rf "${PEERS:?}/$2"
	cp -r --no-preserve=mode "$from" "$PEERS/$2"
	: >"$PEERS/$2/unpacked"
}

program() { # DIRECTORY NAME PACKAGE LDFLAGS ARG...
	local begin=$SECONDS
	(cd "$PEERS/$1" && "$go" build -ldflags "-s -w $4" -o "$PEERS/bin/$2" "${@:5}" "$3")
	echo "build.sh: $2: $((SECONDS - begin)) s"
}

part_flannel() {
	unpack "github.com/flannel-io/flannel@$FLANNEL" flannel
	# Without the clouds' backends, whose modules are large and not available everywhere.
	sed -i -E '/backend\/(tencentvpc|alivpc|awsvpc|udp)"$/d' "$PEERS/flannel/main.go"
	program flannel flanneld . "-X github.com/flannel-io/flannel/pkg/version.Version=$FLANNEL"
}

part_cilium() {
	local flags
	command -v clang-19 >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		-o DPkg::Lock::Timeout=300 clang-19 >"$PEERS/apt.log" 2>&1 || { tail -n 20 "$PEERS/apt.log" >&2; exit 1; }
	unpack "github.com/cilium/cilium@$CILIUM" cilium
	# Forks that are not available everywhere, of a module as it also is without (but for how custom resources are converted), and
	# of one that only generates code.
	(cd "$PEERS/cilium" && "$go" mod edit -dropreplace=k8s.io/apimachinery -dropreplace=sigs.k8s.io/controller-tools)
	flags="-X github.com/cilium/cilium/pkg/version.ciliumVersion=${CILIUM#v}"
	program cilium cilium-cni ./plugins/cilium-cni "$flags" -tags osusergo
	program cilium cilium-agent ./daemon "$flags" -tags osusergo
	program cilium cilium-operator-generic ./operator "$flags" -tags osusergo,ipam_provider_operator
}

parts=(flannel cilium)
for part in "${@:-${parts[@]}}"; do
	[[ " ${parts[*]} " = *" $part "* ]] || { echo "build.sh: '$part' is no part: there are ${parts[*]}" >&2; exit 2; }
	"part_$part"
done
