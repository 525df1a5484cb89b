#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# build.sh [PART...]: what `cluster` runs and what its tests use, into $K8S (default: build/k8s), built from published Go modules,
# and images, made of that and of what is installed here. Cold about 9 minutes on two processors, then seconds.
#
#   cluster    Kubernetes and etcd, as one program with several names; the images of pause and busybox
#   e2e        Kubernetes' own tests of NetworkPolicy, the runner that runs several at a time, and the image that they use
#   dns        CoreDNS and its image
#   load       podload, which makes objects
#
# Exit status 3: not to be had here (no Go that is new enough, or no way to the modules); the reason is on stderr.
#
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
K8S=${K8S:-$here/../../build/k8s}
mkdir -p "$K8S/bin" "$K8S/images"
K8S=$(cd "$K8S" && pwd)
PATH=$PATH:/usr/local/go/bin # sudo's PATH has not got it
# GOTOOLCHAIN=auto fetches a newer Go as a module; GOGC: the compiler's own collector, 70 s of 400.
export GOTOOLCHAIN=auto GOFLAGS='-mod=readonly -buildvcs=false -trimpath' GOGC=400 CGO_ENABLED=0
[ -n "${HOME:-}" ] || export HOME=$K8S

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

fetch() { # FOLDER: the modules that the one there needs
	cd "$here/$1"
	"$go" version >/dev/null || unavailable "$("$go" version 2>&1) cannot build what needs $(awk '$1 == "go" { print $2 }' go.mod)"
	"$go" mod download 2>/dev/null || unavailable "the modules of $here/$1 cannot be fetched"
}

k8sbox() {
	local version name
	version=$("$go" list -m -f '{{.Version}}' k8s.io/kubernetes)
	"$go" build -o "$K8S/bin/k8sbox" -ldflags "-s -w
		-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1
		-X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")
		-X k8s.io/component-base/version.gitTreeState=clean -X k8s.io/component-base/version.buildDate=1970-01-01T00:00:00Z
		-X k8s.io/client-go/pkg/version.gitVersion=$version" .
	for name in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do
		ln -sf k8sbox "$K8S/bin/$name"
	done
}

program() { # NAME PACKAGE
	timed "$1" "$go" build -ldflags '-s -w' -o "$K8S/bin/$1" "$2"
}

# --- images ----------------------------------------------------------------------------------------------------------------

# image NAME TAG ROOT DESCRIPTION: one layer and its description (of a command, as JSON), in the form of `docker save`.
image() {
	local root=$3 work=$K8S/images/work.$1 layer
	mkdir -p "$work"
	tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer.tar" .
	layer=$(sha256sum <"$work/layer.tar" | cut -d' ' -f1)
	cat >"$work/config.json" <<-JSON
		{"architecture": "$(dpkg --print-architecture)", "os": "linux",
		 "config": {"Env": ["PATH=/bin"], "WorkingDir": "/", $4},
		 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
	JSON
	echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$2\"], \"Layers\": [\"layer.tar\"]}]" >"$work/manifest.json"
	tar -C "$work" -cf "$work/image.tar" manifest.json config.json layer.tar
	mv "$work/image.tar" "$K8S/images/$1.tar"
	rm -rf "$work" "$root"
}

with_busybox() { # ROOT
	local applet
	mkdir -p "$1"/{bin,etc,tmp,www}
	cp "$(command -v busybox)" "$1/bin/busybox"
	for applet in $("$1/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
	done
	echo 'root:x:0:0:root:/:/bin/sh' >"$1/etc/passwd"
}

fresh_root() {
	root=$K8S/images/root
	rm -rf "$root"
	mkdir -p "$root"
}

# --- parts -----------------------------------------------------------------------------------------------------------------

part_cluster() {
	timed "modules of Kubernetes" fetch box
	timed Kubernetes k8sbox
	fresh_root
	${CC:-gcc} -Os -static -s -o "$root/pause" "$here/pause.c"
	image pause warren.example/pause:1 "$root" '"Cmd": ["/pause"]'
	fresh_root
	with_busybox "$root"
	image busybox warren.example/busybox:1 "$root" '"Cmd": ["/bin/sh"]'
}

part_e2e() {
	local version
	fetch box
	program agnhost k8s.io/kubernetes/test/images/agnhost
	program ginkgo github.com/onsi/ginkgo/v2/ginkgo
	timed netpol.test "$go" test -c -ldflags '-s -w' -o "$K8S/bin/netpol.test" ./netpol
	fresh_root
	with_busybox "$root"
	cp "$K8S/bin/agnhost" "$root/agnhost"
	# The one that the tests of this version ask for.
	version=$(sed -n 's/.*configs\[Agnhost\] = Config{.*"agnhost", "\(.*\)"}/\1/p' \
		"$("$go" list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/utils/image/manifest.go")
	image agnhost "registry.k8s.io/e2e-test-images/agnhost:$version" "$root" '"Entrypoint": ["/agnhost"], "Cmd": ["pause"]'
}

part_dns() {
	fetch coredns
	program coredns .
	fresh_root
	cp "$K8S/bin/coredns" "$root/coredns"
	image coredns warren.example/coredns:1 "$root" '"Cmd": ["/coredns"]'
}

part_load() {
	fetch box
	program podload ./podload
}

parts=(cluster e2e dns load)
for part in "${@:-${parts[@]}}"; do
	[[ " ${parts[*]} " = *" $part "* ]] || { echo "build.sh: '$part' is no part: there are ${parts[*]}" >&2; exit 2; }
done
begin=$SECONDS
for part in "${@:-${parts[@]}}"; do
	"part_$part"
done
echo "build.sh: $((SECONDS - begin)) s"
