#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# deps.sh build|demo|test: installs packages of the distribution. For Debian 12 and 13, Ubuntu 22.04 and 24.04; elsewhere it
# prints what to install. If everything is there, it changes nothing and needs no rights; else it installs as root, by sudo.
#
#   build    what `make all` and `make image` need
#   demo     that, and what `make demo` and examples/lab need
#   test     that, and what `make test`, `make lint` and `make bench` need
#
set -euo pipefail

die() {
	echo "deps: $*" >&2
	exit 1
}

have() {
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]
}

case ${1:-} in
build | demo | test) level=$1 ;;
*) die "usage: deps.sh build|demo|test" ;;
esac
[ "${DEPS:-}" != skip ] || exit 0

build=(gcc make pkg-config git clang libc6-dev linux-libc-dev libbpf-dev libelf-dev zlib1g-dev libmnl-dev libnftnl-dev
	libjansson-dev libuv1-dev libyaml-dev libmicrohttpd-dev libcurl4-openssl-dev libssl-dev libnanopb-dev
	busybox-static containernetworking-plugins jq)
demo=(iproute2 nftables procps python3 tcpdump tshark)
tests=(llvm libcmocka-dev clang-tidy clang-format cppcheck shellcheck codespell mandoc pyflakes3 python3-pytest python3-pytest-timeout python3-pytest-xdist
	python3-scapy python3-yaml man-db gnuplot-nox openvswitch-switch iptables ethtool iputils-ping traceroute
	strace systemd ca-certificates cpio kmod curl wget bind9-dnsutils netcat-openbsd prometheus)

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${ID:-unknown}-${VERSION_ID:-}")
case $release in
debian-12) build+=(bpftool) tests+=(libclang-rt-14-dev) ;;
debian-13) build+=(bpftool libzstd-dev) tests+=(libclang-rt-19-dev) ;;
# Ubuntu's bpftool comes with a kernel's tools; before 24.04 the sanitizers' run time is in libclang-common-14-dev.
ubuntu-22.04) build+=(linux-tools-common linux-tools-generic libzstd-dev) ;;
ubuntu-24.04) build+=(linux-tools-common linux-tools-generic libzstd-dev) tests+=(libclang-rt-18-dev) ;;
*)
	cat >&2 <<-TEXT
		deps: the packages of $release are not known here (those of Debian 12 and 13, Ubuntu 22.04 and 24.04 are).
		Please install, with their headers and static libraries where there are any:
		  to build:  gcc >= 12 (or clang), clang >= 14, bpftool, GNU make, pkg-config, git,
		             libbpf >= 1.0, libelf, zlib, libmnl, libnftnl, jansson, libuv, libyaml, libmicrohttpd, libcurl, OpenSSL's libcrypto, nanopb;
		             for the image: a static busybox, the CNI reference plugins, jq
		  for the demo: containerd (with ctr), runc, iproute2, nft, python3, tcpdump, tshark, ps
		  to test:   cmocka, python3 with pytest, pytest-xdist, scapy and PyYAML, Open vSwitch, iptables, ethtool, ping, traceroute, strace,
		             curl, wget, dig, OpenBSD's nc, man, promtool (of Prometheus), clang's sanitizer run time, Go (for cnitool);
		             qemu-system-x86_64, cpio, kmod and dpkg (for test-vm)
		  to lint and to measure: clang-tidy, clang-format, cppcheck, shellcheck, codespell, pyflakes, mandoc, gnuplot
		Then use make all, make test and make demo with DEPS=skip in the environment.
	TEXT
	exit 1
	;;
esac
# Vendors' packages of these conflict with the distribution's: keep what is installed.
have containerd && have ctr || demo+=(containerd)
have runc || demo+=(runc)
[ "$(uname -m)" != x86_64 ] || tests+=(qemu-system-x86)
have go || [ -x /usr/local/go/bin/go ] || tests+=(golang-go)

packages=("${build[@]}")
[ "$level" = build ] || packages+=("${demo[@]}")
[ "$level" != test ] || packages+=("${tests[@]}")
missing=()
for package in "${packages[@]}"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
	installed | triggers-*) ;; # the latter while some other package is being installed
	*) missing+=("$package") ;;
	esac
done

as_root=()
need_root() { # WHAT FOR
	[ "$(id -u)" != 0 ] || return 0
	have sudo || die "root is required to $1; there is no sudo, so run the same command as root"
	as_root=(sudo)
}

install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1
}

if [ ${#missing[@]} -gt 0 ]; then
	need_root "install ${missing[*]}"
	echo "deps: installing ${as_root:+by sudo: }${missing[*]}"
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	# Package lists may be there and too old, so a failed install is worth one update.
	if ! install install --no-install-recommends --no-remove "${missing[@]}"; then
		install update || { tail -n 20 "$log" >&2; die "apt-get update failed"; }
		install install --no-install-recommends --no-remove "${missing[@]}" ||
			{ tail -n 20 "$log" >&2; die "apt-get install failed"; }
	fi
fi

# Ubuntu's /usr/sbin/bpftool is a script that requires the running kernel's package; any real one will do.
if ! bpftool version >/dev/null 2>&1 && ! /usr/sbin/bpftool version >/dev/null 2>&1; then
	real=$(find /usr/lib/linux-tools /usr/lib/linux-tools-* -name bpftool 2>/dev/null | sort -V | tail -n 1)
	[ -n "$real" ] || die "no bpftool that runs; install one for any kernel >= 5.15"
	need_root "link $real to /usr/local/sbin/bpftool"
	"${as_root[@]}" ln -sfn "$real" /usr/local/sbin/bpftool
fi

libbpf=$(pkg-config --modversion libbpf)
if [ "${libbpf%%.*}" -lt 1 ]; then
	die "libbpf $libbpf is too old: Warren needs >= 1.0 (Ubuntu 22.04 ships 0.5). Install a newer libbpf with its" \
		"pkg-config file and static library, e.g. from the sources of a later release, or build on Ubuntu 24.04 or Debian 12."
fi
