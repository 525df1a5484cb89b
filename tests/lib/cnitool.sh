#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# cnitool.sh OUT: builds the CNI project's cnitool (a thin command over libcni) into OUT.
# Exit status: 0 built, 3 not available here (no Go, or no access to its modules): the reason is on stderr.
set -euo pipefail

CNITOOL=github.com/containernetworking/cni/cnitool@v1.3.0 # the first release line with STATUS and GC
NEEDS=1.21                                                # Go, as that release's go.mod says
TOOLCHAIN=1.23.4                                          # taken as a module where the installed Go is older

out=$1
unavailable() {
	echo "cnitool: $*" >&2
	exit 3
}

PATH=$PATH:/usr/local/go/bin # sudo's PATH has not got it
go=${GO:-$(command -v go)} || unavailable "no go command; install Go >= 1.19"

work=$(mktemp -d)
cleanup() {
	chmod -R u+w "$work" # the module cache is read-only
	rm -rf "$work"
}
trap cleanup EXIT
# Without a home there is no default place for Go's caches.
[ -n "${HOME:-}" ] || export HOME=$work
export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0
cd "$work"

version=$("$go" env GOVERSION)
version=${version#go}
if [ "$(printf '%s\n' "$NEEDS" "${version%%[!0-9.]*}" | sort -V | head -n 1)" != "$NEEDS" ]; then
	module=golang.org/toolchain@v0.0.1-go$TOOLCHAIN.$("$go" env GOOS)-$("$go" env GOARCH)
	info=$("$go" mod download -json "$module") || unavailable "Go $version is too old and $module cannot be fetched"
	root=$(sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p' <<<"$info")
	# The cache keeps no execute bits; a copy leaves it as it should be.
	cp -R "$root" toolchain
	chmod -R u+w toolchain
	chmod +x toolchain/bin/* toolchain/pkg/tool/*/*
	unset GOROOT
	go=$work/toolchain/bin/go
fi

mkdir bin
GOBIN=$work/bin "$go" install -trimpath "$CNITOOL" || unavailable "$CNITOOL cannot be built with $("$go" version)"
cd "$OLDPWD"
mkdir -p "$(dirname "$out")"
mv "$work/bin/cnitool" "$out"
