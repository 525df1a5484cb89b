#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# build.sh: what `cluster` runs, into $K8S (default: build/k8s): Kubernetes and etcd as one program with several names, built from
# their published modules, and two images, made of what is installed here. Cold about 7 minutes on two processors, then seconds.
# Exit status 3: not to be had here (no Go that is new enough, or no way to the modules); the reason is on stderr.
#
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
K8S=${K8S:-$here/../../build/k8s}
mkdir -p "$K8S/bin" "$K8S/images"
K8S=$(cd "$K8S" && pwd)
PATH=$PATH:/usr/local/go/bin # sudo's PATH has not got it

unavailable() {
	echo "build.sh: $*" >&2
	exit 3
}

programs() {
	local needs version name go
	go=${GO:-$(command -v go)} || unavailable "no go command"
	[ -n "${HOME:-}" ] || export HOME=$K8S
	needs=$(awk '$1 == "go" { print $2 }' "$here/box/go.mod")
	# GOTOOLCHAIN=auto fetches a newer Go as a module; GOGC: the compiler's own collector, 70 s of 400.
	export GOTOOLCHAIN=auto GOFLAGS='-mod=readonly -buildvcs=false' GOGC=400 CGO_ENABLED=0
	cd "$here/box"
	version=$("$go" list -m -f '{{.Version}}' k8s.io/kubernetes) || unavailable "$("$go" version) cannot build what needs $needs"
	"$go" mod download 2>/dev/null || unavailable "the modules of Kubernetes $version cannot be fetched"
	"$go" build -trimpath -o "$K8S/bin/k8sbox" -ldflags "-s -w
		-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1
		-X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")
		-X k8s.io/component-base/version.gitTreeState=clean -X k8s.io/component-base/version.buildDate=1970-01-01T00:00:00Z
		-X k8s.io/client-go/pkg/version.gitVersion=$version" .
	for name in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do
		ln -sf k8sbox "$K8S/bin/$name"
	done
}

images() {
	local root=$K8S/images/root image=$here/../../examples/lab/image
	rm -rf "$root"
	mkdir -p "$root/pause" "$root/busybox/www"
	${CC:-gcc} -Os -static -s -o "$root/pause/pause" "$here/pause.c"
	"$image" pack "$K8S/images/pause.tar" warren.example/pause:1 "$root/pause" cmd=/pause
	"$image" busybox "$root/busybox"
	"$image" pack "$K8S/images/busybox.tar" warren.example/busybox:1 "$root/busybox"
	rm -rf "$root"
}

begin=$SECONDS
programs
images
echo "build.sh: $((SECONDS - begin)) s"
