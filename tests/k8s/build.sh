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

# image NAME ROOT CMD: one layer and its description, in the form of `docker save`.
image() {
	local name=$1 root=$2 work=$K8S/images/work.$1 layer
	mkdir -p "$work"
	tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer.tar" .
	layer=$(sha256sum <"$work/layer.tar" | cut -d' ' -f1)
	cat >"$work/config.json" <<-JSON
		{"architecture": "$(dpkg --print-architecture)", "os": "linux",
		 "config": {"Env": ["PATH=/bin"], "Cmd": ["$3"], "WorkingDir": "/"},
		 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
	JSON
	echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"warren.example/$name:1\"], \"Layers\": [\"layer.tar\"]}]" >"$work/manifest.json"
	tar -C "$work" -cf "$K8S/images/$name.tar" manifest.json config.json layer.tar
	rm -rf "$work"
}

images() {
	local root=$K8S/images/root applet
	rm -rf "$root"
	mkdir -p "$root/pause" "$root/busybox"/{bin,etc,tmp,www}
	${CC:-gcc} -Os -static -s -o "$root/pause/pause" "$here/pause.c"
	image pause "$root/pause" /pause
	cp "$(command -v busybox)" "$root/busybox/bin/busybox"
	for applet in $("$root/busybox/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/busybox/bin/$applet"
	done
	echo 'root:x:0:0:root:/:/bin/sh' >"$root/busybox/etc/passwd"
	image busybox "$root/busybox" /bin/sh
	rm -rf "$root"
}

begin=$SECONDS
programs
images
echo "build.sh: $((SECONDS - begin)) s"
