#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# build.sh [PART...]: what `cluster` runs and what its tests use, into $KUBE (default: build/kube), built from published Go modules,
# and images, made of that and of what is installed here. Cold about 11 minutes on two processors, then seconds.
#
#   cluster    Kubernetes and etcd, as one program with several names; the images of pause and busybox
#   dns        CoreDNS and its image
#   e2e        Kubernetes' own tests of networking, the runner that runs several at a time, and the images that they use
#   load       podload, which makes objects
#   containerd containerd 2, whose tests run beside the clusters
#
# Exit status 3: not available here (no Go that is new enough, or no access to the modules); the reason is on stderr.
#
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
tree=$(readlink -f "$here/../..")
KUBE=${KUBE:-$tree/build/kube}
mkdir -p "$KUBE/bin" "$KUBE/images"
KUBE=$(cd "$KUBE" && pwd)
PATH=$PATH:/usr/local/go/bin # sudo's PATH has not got it
# GOTOOLCHAIN=auto fetches a newer Go as a module; GOGC: the compiler's own collector, 70 s of 400.
export GOTOOLCHAIN=auto GOFLAGS='-mod=readonly -buildvcs=false -trimpath' GOGC=400 CGO_ENABLED=0
[ -n "${HOME:-}" ] || export HOME=$KUBE

unavailable() {
	echo "build.sh: $*" >&2
	exit 3
}

go=${GO:-$(command -v go)} || unavailable "no go command"

timed() { # WHAT COMMAND...
	local begin=$SECONDS
	"${@:2}"
	echo "build.sh: $1: $((SECONDS - begin)) s"
}

# --- programs --------------------------------------------------------------------------------------------------------------

fetch() { # DIRECTORY: the modules that the one there needs
	cd "$here/$1"
	"$go" version >/dev/null || unavailable "$("$go" version 2>&1) cannot build what needs $(awk '$1 == "go" { print $2 }' go.mod)"
	"$go" mod download 2>/dev/null || unavailable "the modules of $here/$1 cannot be fetched"
}

kubebox() {
	local version name
	version=$("$go" list -m -f '{{.Version}}' k8s.io/kubernetes)
	"$go" build -o "$KUBE/bin/kubebox" -ldflags "-s -w
		-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1
		-X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")
		-X k8s.io/component-base/version.gitTreeState=clean -X k8s.io/component-base/version.buildDate=1970-01-01T00:00:00Z
		-X k8s.io/client-go/pkg/version.gitVersion=$version" .
	for name in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do
		ln -sf kubebox "$KUBE/bin/$name"
	done
}

program() { # NAME PACKAGE
	timed "$1" "$go" build -ldflags '-s -w' -o "$KUBE/bin/$1" "$2"
}

# --- images ----------------------------------------------------------------------------------------------------------------

fresh() {
	root=$KUBE/images/root
	rm -rf "$root"
	mkdir -p "$root"
}

image() {
	"$tree/packaging/image" "$@"
}

pack() { # NAME TAG KEY=VALUE...: of what is in $root
	image pack "$KUBE/images/$1.tar" "$2" "$root" "${@:3}"
	rm -rf "$root"
}

# --- parts -----------------------------------------------------------------------------------------------------------------

part_cluster() {
	timed "modules of Kubernetes" fetch box
	timed Kubernetes kubebox
	fresh
	${CC:-gcc} -Os -static -s -o "$root/pause" "$here/pause.c"
	pack pause warren.example/pause:1 cmd=/pause
	fresh
	image busybox "$root"
	mkdir "$root/www"
	pack busybox warren.example/busybox:1
}

part_e2e() {
	local tag name program
	local -a programs=()
	for name in curl dash dig getent nc.openbsd wget; do
		program=$(type -P "$name") || unavailable "no $name: make test-deps installs it"
		programs+=("$program")
	done
	fetch box
	program agnhost k8s.io/kubernetes/test/images/agnhost
	program regression-issue-74839 k8s.io/kubernetes/test/images/regression-issue-74839
	program ginkgo github.com/onsi/ginkgo/v2/ginkgo
	timed e2e.test "$go" test -c -ldflags '-s -w' -o "$KUBE/bin/e2e.test" ./e2e
	fresh
	cp "$KUBE/bin/regression-issue-74839" "$root/regression-issue-74839"
	tag=$("$KUBE/bin/e2e.test" --list-images | grep e2e-test-images/regression-issue-74839:)
	pack regression-issue-74839 "$tag" entrypoint=/regression-issue-74839
	tag=$("$KUBE/bin/e2e.test" --list-images | grep e2e-test-images/agnhost:)
	fresh
	image busybox "$root"
	image programs "$root" "${programs[@]}"
	# Before busybox's in PATH, since its shell would prefer its own applets.
	mv "$root/usr/sbin/nc.openbsd" "$root/usr/sbin/nc"
	mv "$root/usr/sbin/dash" "$root/bin/sh"
	echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
	cp "$KUBE/bin/agnhost" "$root/agnhost"
	# As the published image has it; no test that `make test` runs needs it, and that does not build it.
	[ ! -e "$KUBE/bin/coredns" ] || cp "$KUBE/bin/coredns" "$root/coredns"
	cp "$("$go" list -f '{{.Dir}}' k8s.io/kubernetes/test/images/agnhost)"/porter/localhost.* "$root"
	pack agnhost "$tag" entrypoint=/agnhost cmd=pause path=/usr/sbin:/bin
}

part_dns() {
	fetch coredns
	program coredns .
	fresh
	cp "$KUBE/bin/coredns" "$root/coredns"
	pack coredns warren.example/coredns:1 cmd=/coredns
}

part_load() {
	fetch box
	program podload ./podload
}

part_containerd() {
	local -r tree=github.com/containerd/containerd/v2/cmd
	fetch containerd
	mkdir -p "$KUBE/bin/containerd2"
	# Without what needs C libraries: snapshotters that the tests do not use.
	timed containerd "$go" build -tags 'no_btrfs no_devmapper no_zfs' -ldflags '-s -w' -o "$KUBE/bin/containerd2/" \
		"$tree/containerd" "$tree/containerd-shim-runc-v2" "$tree/ctr"
}

parts=(cluster dns e2e load containerd)
for part in "${@:-${parts[@]}}"; do
	[[ " ${parts[*]} " = *" $part "* ]] || { echo "build.sh: '$part' is no part: there are ${parts[*]}" >&2; exit 2; }
done
begin=$SECONDS
for part in "${@:-${parts[@]}}"; do
	"part_$part"
done
echo "build.sh: $((SECONDS - begin)) s"
