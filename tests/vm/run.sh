#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# `make test-vm`: the programs and their tests on other kernels. Boots Debian's cloud kernels in QEMU without KVM, each with
# an initramfs of this machine's own packages and what was built here, and prints what tests/vm/guest.sh found there: a line
# "KERNEL: N passed, N failed, N skipped" for each. A machine that hangs or dies has failed. A kernel whose package is not
# available is skipped, with the reason; `make test` fails then. The last part is each kernel's verifier figures for each
# program, side by side.
#
# usage: run.sh [SERIES...]; a series is 6.1 or 6.12. WARREN_VM_STAGES="verify net" runs only these.
set -uo pipefail

cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
build=${WARREN_BUILD:-$PWD/build}
vm=$build/vm
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
limit=${WARREN_VM_SECONDS:-1600} # for one machine; then it prints its state and ends
memory=3072                      # MiB of one machine

series=("$@")
[ ${#series[@]} -gt 0 ] || series=(6.1 6.12)

die() {
	echo "test-vm: $*" >&2
	exit 1
}

# --- kernels ----------------------------------------------------------------------------------------------------------------

# The newest image of a series: that of the series' own metapackage, or of the release's.
image_of() { # SERIES
	local meta image
	for meta in "linux-image-$1-cloud-amd64" linux-image-cloud-amd64; do
		image=$(apt-cache depends "$meta" 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }')
		[[ $image != linux-image-"$1".* ]] || { echo "$image"; return 0; }
	done
	return 1
}

# Prints the path of the package, which is downloaded unless it is there; apt's signed lists have its hash.
download() { # IMAGE
	local file hash
	read -r _ file _ hash < <(apt-get download --print-uris "$1" 2>/dev/null)
	[ -n "$hash" ] || return 1
	[ "${hash%%:*}" = SHA256 ] || return 1
	if ! sha256sum --status --check <<<"${hash#*:}  $vm/$file" 2>/dev/null; then
		(cd "$vm" && rm -f "$file" && apt-get -q download "$1" >&2) || return 1
		sha256sum --status --check <<<"${hash#*:}  $vm/$file" || return 1
	fi
	echo "$vm/$file"
}

package_of() { # SERIES
	local image
	image=$(image_of "$1") && download "$image"
}

# Unpacks the series' newest kernel to a directory of its own and prints that.
kernel() { # SERIES
	local deb dir
	if ! deb=$(package_of "$1"); then
		# There may be no package lists, or old ones.
		apt-get -q update >&2
		deb=$(package_of "$1") || return 1
	fi
	dir=${deb%.deb}
	if [ ! -e "$dir/unpacked" ]; then
		rm -rf "$dir"
		dpkg-deb -x "$deb" "$dir" >&2 && touch "$dir/unpacked" || return 1
	fi
	echo "$dir"
}

# --- the machine's files ------------------------------------------------------------------------------------------------------

# What the tests use, with all it depends on, as it is installed here.
packages=(bash bpftool coreutils dash diffutils findutils gawk grep hostname mawk procps sed util-linux mount kmod ethtool iproute2 iptables
	iputils-ping nftables tcpdump python3 python3-pytest python3-pytest-timeout python3-scapy)

userland() { # PROGRAM...: names of files
	local -a closure
	mapfile -t closure < <(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
		--no-replaces --no-enhances "${packages[@]}" | grep -E '^[a-z]' | sort -u)
	{
		dpkg -L "${closure[@]}" 2>/dev/null
		ldd "$@" | awk '$2 == "=>" { print $3 } $1 ~ /^\// && NF == 2 { print $1 }' | sort -u | tee /dev/fd/3 | xargs readlink -f
		printf '%s\n' /bin /sbin /lib /lib64 /etc/passwd /etc/group /etc/nsswitch.conf /usr/lib/cni /usr/lib/cni/host-local /usr/lib/cni/portmap
		find /etc/alternatives /usr/bin /usr/sbin -type l -lname '/etc/alternatives/*' -o -path '/etc/alternatives*'
	} 3>&1 | grep -vE '^/\.$|^/usr/share/(doc|man|info|locale|lintian|bash-completion|bug|perl)|^/etc/alternatives/.*\.gz$|^/usr/lib/python3[^/]*/test/|/dist-packages/[^/]*/tests?/' |
		sed -E 's,^/(bin|sbin|lib|lib64)/,/usr/\1/,' | completed
}

# With the directories that files are in (a package does not list them under each name that they have), and the compiled forms
# of Python's modules, which are no part of their packages.
completed() {
	awk -v tag="$(/usr/bin/python3 -c 'import sys; print(sys.implementation.cache_tag)')" '
		function add(name) {
			for (; name != "" && !(name in seen); sub(/\/[^\/]*$/, "", name)) {
				seen[name] = 1
				print name
			}
		}
		{ add($0) }
		/^\/usr\/lib\/python3.*\.py$/ {
			match($0, /[^\/]*$/)
			add(substr($0, 1, RSTART - 1) "__pycache__/" substr($0, RSTART, RLENGTH - 3) "." tag ".pyc")
		}' | sort | while IFS= read -r file; do
		[ ! -e "$file" ] && [ ! -L "$file" ] || echo "$file"
	done
}

archive() { # DIRECTORY, names on the standard input
	cpio --quiet -o -H newc -D "$1" --owner 0:0
}

# Everything but the kernel's modules.
image_base() { # ARCHIVE
	local root=$vm/root program
	local -a programs=("$build"/warren "$build"/warren-agent "$build"/warren-cni "$build"/tests/bpf/bpftest "$build"/tests/vm/verify)
	for program in "$build"/tests/unit/test_*; do # none, for a part of the stages
		[[ ! -e $program || $program == *.[od] ]] || programs+=("$program")
	done
	rm -rf "$root"
	mkdir -p "$root"/{proc,sys,dev,run,tmp,root,etc/cni,opt/cni/bin,var/lib} "$root/warren/build"
	cp -a --parents bpf/abi tests examples "$root/warren/"
	for program in "${programs[@]}"; do
		install -D -s --strip-program=true "$program" "$root/warren/build/${program#"$build"/}" || return 1
	done
	/usr/bin/python3 -m compileall -q "$root/warren/tests" >&2
	ln -s warren/tests/vm/guest.sh "$root/init"
	{
		userland "${programs[@]}" | archive /
		(cd "$root" && find . -mindepth 1 | archive .)
	} >"$1"
}

# What the tests need of a kernel's modules: the network, and what it uses.
image_modules() { # KERNEL ARCHIVE
	local modules root=$1.tree
	modules=$(echo "$1"/lib/modules/* "$1"/usr/lib/modules/*)
	modules=${modules%% *}
	rm -rf "$root"
	mkdir -p "$root/usr/lib/modules/${modules##*/}/kernel/fs"
	(
		cd "$modules/kernel" || exit
		for part in net lib crypto arch drivers/net fs/overlayfs; do
			[ ! -e "$part" ] || cp -a --parents "$part" "$root/usr/lib/modules/${modules##*/}/kernel/"
		done
		cp ../modules.builtin* ../modules.order "$root/usr/lib/modules/${modules##*/}/"
	)
	ln -s usr/lib "$root/lib"
	depmod -b "$root" "${modules##*/}" || return 1
	(cd "$root" && find usr/lib/modules | archive .) >"$2"
	rm -rf "$root"
}

# --- machines -----------------------------------------------------------------------------------------------------------------

# What makes emulation slow and is not what is tested: wide vector instructions, a clock that is a device (the processor's
# own counter is this machine's), the kernel's second looks at memory, the wait of a whole grace period. And that it counts
# the timer's interrupts before it believes in them: on a busy machine they come late, and it panics.
processor=Nehalem,+rdrand
quick="mitigations=off no_timer_check tsc=reliable init_on_alloc=0 hardened_usercopy=off nowatchdog audit=0"
quick+=" rcupdate.rcu_expedited=1"

# Ends when the machine does. What follows "--" in its command line is the first process's arguments.
boot() { # KERNEL INITRD CONSOLE
	timeout --foreground -k 5 "$((limit + 60))" qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
		-accel tcg,thread=multi -cpu "$processor" -smp 2 -m "$memory" -kernel "$1" -initrd "$2" -serial "file:$3" \
		-append "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic $quick tsc_early_khz=$khz -- $limit ${WARREN_VM_STAGES:-}" \
		</dev/null
}

# One machine from its package to its results, which are in $vm/SERIES.report.
machine() { # SERIES
	local dir report=$vm/$1.report
	rm -f "$report"
	if ! dir=$(kernel "$1" 2>"$vm/$1.apt"); then
		echo "SKIPPED $1: no such kernel from apt: $(tail -n 1 "$vm/$1.apt")" >"$report"
		return
	fi
	image_modules "$dir" "$vm/$1.modules" && cat "$vm/base" "$vm/$1.modules" >"$vm/$1.initrd" || return
	boot "$dir"/boot/vmlinuz-* "$vm/$1.initrd" "$vm/$1.console" || echo "the machine was ended after $limit s" >>"$vm/$1.console"
	sed -i 's/\r$//' "$vm/$1.console"
	rm -f "$vm/$1.initrd" "$vm/$1.modules"
	if grep -q '^== end' "$vm/$1.console"; then
		sed -n '/^== begin/,/^== end/ { /^==/d; p }' "$vm/$1.console" >"$report"
	else
		{
			echo "the machine came to no end; of its console the last is:"
			tail -n 200 "$vm/$1.console"
			echo "$1: 0 passed, 1 failed"
		} >"$report"
	fi
}

# --- side by side -------------------------------------------------------------------------------------------------------------

# NAME INSNS VERIFIED STACK USEC of each kernel into one table: a row for each program, three columns for each kernel.
verifier_table() { # KERNEL=FILE...
	local kernel
	printf '%-18s' 'verifier'
	for kernel; do
		printf '  %-30s' "${kernel%%=*}"
	done
	printf '\n%-18s' ''
	for kernel; do
		printf '  %7s %8s %5s %7s' insns verified stack ms
	done
	echo
	awk '
		FNR == 1 { files++ }
		NF == 5 && $2 ~ /^[0-9]+$/ {
			if (!($1 in row)) { row[$1] = ++rows; name[rows] = $1 }
			cell[$1, files] = sprintf("%7d %8d %5d %7.1f", $2, $3, $4, $5 / 1000)
		}
		END {
			for (r = 1; r <= rows; r++) {
				printf "%-18s", name[r]
				for (f = 1; f <= files; f++) printf "  %-30s", ((name[r], f) in cell) ? cell[name[r], f] : "refused"
				printf "\n"
			}
		}' "${@#*=}"
}

# --- the run --------------------------------------------------------------------------------------------------------------------

if [ "$(uname -m)" != x86_64 ]; then
	printf 'SKIPPED %s: only machines of the type x86_64 are known here\n' "${series[@]}"
	exit 0
fi
[ -x "$build/tests/vm/verify" ] || die "build first: make test-vm"
khz=$("$build/tests/vm/verify" --tsc) || die "what is the rate of this machine's clock?"
mkdir -p "$vm"
image_base "$vm/base" || die "could not make the machines' files"
for one in "${series[@]}"; do
	machine "$one" &
done
wait
rm -rf "$vm/base" "$vm/root"

"$build/tests/vm/verify" >"$vm/host.verify"
columns=("$(uname -r)=$vm/host.verify") status=0
for one in "${series[@]}"; do
	echo "== $one"
	sed '/^verify: /d' "$vm/$one.report"
	sed -n 's/^verify: //p' "$vm/$one.report" >"$vm/$one.verify"
	[ ! -s "$vm/$one.verify" ] || columns+=("$one=$vm/$one.verify")
	grep -qE '^SKIPPED [0-9.]+: |^[^ ]+: [0-9]+ passed, 0 failed' "$vm/$one.report" || status=1
done
verifier_table "${columns[@]}"
exit "$status"
