#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Installs what building, testing and the demo need, with the distribution's own packages. For Debian 12 and 13, Ubuntu
# 22.04 and 24.04; elsewhere it prints what to install. Nothing is fetched when everything is there already.
set -euo pipefail

die() {
	echo "deps: $*" >&2
	exit 1
}

[ "${DEPS:-}" != skip ] || exit 0

have() {
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]
}

build=(gcc make pkg-config git clang libc6-dev linux-libc-dev libbpf-dev libelf-dev zlib1g-dev libmnl-dev libnftnl-dev
	libjansson-dev libuv1-dev libyaml-dev libmicrohttpd-dev libcurl4-openssl-dev libssl-dev libnanopb-dev)
tests=(llvm libcmocka-dev clang-tidy clang-format cppcheck shellcheck codespell python3 python3-pytest python3-pytest-xdist
	python3-scapy jq man-db gnuplot-nox busybox-static openvswitch-switch containernetworking-plugins iproute2 nftables iptables ethtool tcpdump tshark iputils-ping traceroute
	strace procps ca-certificates cpio kmod curl wget bind9-dnsutils netcat-openbsd)

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${ID:-unknown}-${VERSION_ID:-}")
case $release in
debian-12) packages=(bpftool libclang-rt-14-dev) ;;
debian-13) packages=(bpftool libclang-rt-19-dev libzstd-dev) ;;
# Ubuntu's bpftool comes with a kernel's tools; before 24.04 the sanitizers' run time is in libclang-common-14-dev.
ubuntu-22.04) packages=(linux-tools-common linux-tools-generic libzstd-dev) ;;
ubuntu-24.04) packages=(linux-tools-common linux-tools-generic libclang-rt-18-dev libzstd-dev) ;;
*)
	cat >&2 <<-TEXT
		deps: $release is not a system whose packages I know (Debian 12 and 13, Ubuntu 22.04 and 24.04 are).
		Please install, with their headers and static libraries where there are any:
		  to build:  gcc >= 12 (or clang), clang >= 14, bpftool, GNU make, pkg-config, git,
		             libbpf >= 1.0, libelf, zlib, libmnl, libnftnl, jansson, libuv, libyaml, libmicrohttpd, libcurl, OpenSSL's libcrypto, nanopb
		  to test:   cmocka, python3 with pytest, pytest-xdist and scapy, containerd (with ctr), runc, the CNI reference plugins,
		             a static busybox, Open vSwitch, iproute2, nft, iptables, ethtool, tcpdump, tshark, ping, traceroute, strace, jq, curl, wget, dig, OpenBSD's nc,
		             man, clang's sanitizer run time, Go (for cnitool); qemu-system-x86_64, cpio, kmod and dpkg (for test-vm)
		  to lint and to measure: clang-tidy, clang-format, cppcheck, shellcheck, codespell, gnuplot
		Then use make all, tests/run.sh and examples/demo.sh with DEPS=skip in the environment.
	TEXT
	exit 1
	;;
esac
packages+=("${build[@]}" "${tests[@]}")
# Vendors' packages of these conflict with the distribution's: keep what is installed.
have containerd && have ctr || packages+=(containerd)
have runc || packages+=(runc)
[ "$(uname -m)" != x86_64 ] || packages+=(qemu-system-x86)
have go || [ -x /usr/local/go/bin/go ] || packages+=(golang-go)

missing=()
for package in "${packages[@]}"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
	installed | triggers-*) ;; # the latter while some other package is being installed
	*) missing+=("$package") ;;
	esac
done

install() {
	DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1
}

if [ ${#missing[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] || die "missing: ${missing[*]}; run as root to install them"
	echo "deps: installing ${missing[*]}"
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
	[ "$(id -u)" = 0 ] || die "run as root, to link $real to /usr/local/sbin/bpftool"
	ln -sfn "$real" /usr/local/sbin/bpftool
fi

libbpf=$(pkg-config --modversion libbpf)
if [ "${libbpf%%.*}" -lt 1 ]; then
	die "libbpf $libbpf is too old: Warren needs >= 1.0 (Ubuntu 22.04 ships 0.5). Install a newer libbpf with its" \
		"pkg-config file and static library, e.g. from the sources of a later release, or build on Ubuntu 24.04 or Debian 12."
fi
