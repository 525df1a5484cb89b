# SPDX-License-Identifier: BSD-2-Clause
# Warren. `make help` lists the targets.

O ?= build
# Names of files in dependencies are relative to here, so that a build with an absolute O continues one without.
override O := $(patsubst $(CURDIR)/%,%,$(O))
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
CNI_BIN_DIR ?= /opt/cni/bin
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(shell command -v bpftool || ls /usr/sbin/bpftool /usr/local/sbin/bpftool 2>/dev/null | head -n 1)
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0
# Where it is pushed to, if at all; "localhost/" stays on the machine.
IMAGE ?= localhost/warren:$(VERSION)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)')

# --- flags --------------------------------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wundef \
	$(if $(findstring clang,$(CC)),,-Wno-format-truncation) -Wno-unused-parameter -Wno-missing-field-initializers $(if $(WERROR),-Werror)
OPT ?= -O2
CFLAGS_ALL := -std=gnu11 -D_GNU_SOURCE -DWARREN_VERSION='"$(VERSION)"' $(OPT) -g -fno-strict-aliasing -MMD -MP $(WARN) $(CFLAGS)
LDFLAGS_ALL := $(LDFLAGS)
ifneq ($(SAN),)
CFLAGS_ALL += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS_ALL += -fsanitize=$(SAN)
endif

# With -target bpf clang finds asm/types.h only with the path of this machine's.
ARCH_INCLUDE := /usr/include/$(shell uname -m)-linux-gnu
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Wno-unused-parameter $(if $(WERROR),-Werror) -MMD -MP -Ibpf \
	-idirafter $(ARCH_INCLUDE)

# The plugin is one file that may be copied into any node image: what Debian ships as an archive is linked in.
# (It also starts faster and touches fewer pages than with seven shared objects.)
STATIC_LIBS := -lbpf -lelf -lz $(shell grep -aq ZSTD_ /usr/lib/*/libelf.a 2>/dev/null && echo -lzstd) -lnftnl -ljansson
LIBS := -Wl,-Bstatic $(STATIC_LIBS) -Wl,-Bdynamic -lmnl

# --- programs and layers ---------------------------------------------------------------------------------------------------

objs = $(patsubst %.c,$(O)/%.o,$(1))
# Of a directory and of those inside it.
directories = $(sort $(dir $(wildcard $(1)/*.h $(1)/*/*.h)))
sources = $(sort $(wildcard $(1)/*.c $(1)/*/*.c))
tests = $(patsubst %.c,$(O)/%,$(sort $(wildcard tests/$(1).c)))
BPF_SRC := $(sort $(wildcard bpf/*.bpf.c))
SKEL := $(O)/include/warren.skel.h
PROGRAMS := $(O)/warren-cni $(O)/warren $(O)/warren-agent
# Archives in the order in which they are linked: a layer before those below it.
DP := $(O)/user/dp.a $(O)/user/nl.a $(O)/user/lib.a
AGENT := $(O)/user/agent.a $(O)/user/kube.a $(O)/user/policy.a $(O)/user/objects.a
# What only the agent needs is linked dynamically: it is one process a node, not one a pod.
AGENT_LIBS := -lyaml -lcurl -lprotobuf-nanopb -luv -lmicrohttpd -lcrypto

# When the sources were last changed, so that the same sources make the same image.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: all programs image image-root help deps demo-deps test-deps install uninstall test test-long test-times test-attack soak test-vm test-e2e test-all figures-kube demo bench bench-peers lint format clean unit apiclients bpftest policytest fuzz \
	fuzz-targets verify benchtools cnitool compile_commands.json
.DELETE_ON_ERROR:
.SECONDARY:

all: programs $(O)/warren.bash-completion ## build the agent, the plugin, the CLI and its completion

programs: $(PROGRAMS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z.A-Z_-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "  Variables: O=$(O) V=1 SAN=address,undefined WERROR=1 CC=$(CC) CLANG=$(CLANG) PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) DESTDIR= CNI_BIN_DIR=$(CNI_BIN_DIR)"

deps: ## install what building needs, as root or by sudo (Debian 12/13, Ubuntu 22.04/24.04)
	$(Q)tests/lib/deps.sh build

demo-deps: ## ... and what demo and examples/lab need; `make demo` does it
	$(Q)tests/lib/deps.sh demo

test-deps: ## ... and what tests, lint and bench need; `make test` does it
	$(Q)tests/lib/deps.sh test

# --- BPF ------------------------------------------------------------------------------------------------------------------

$(O)/include/abi: | bpf/abi
	@mkdir -p $(@D)
	@ln -sfn $(abspath bpf/abi) $@

$(O)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# One object of all hooks: their maps are defined weak in each and are one map here.
$(O)/warren.bpf.o: $(patsubst bpf/%.bpf.c,$(O)/bpf/%.bpf.o,$(BPF_SRC))
	$(call say,BPFLINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

ifdef BPF_BUILD # another build directory, whose programs are taken
$(SKEL): $(BPF_BUILD)/include/warren.skel.h
	@mkdir -p $(@D)
	$(Q)cp $< $@
else
$(SKEL): $(O)/warren.bpf.o
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name warren_bpf > $@.tmp && mv $@.tmp $@
endif

# Never a file, so always run.
alone = $(addsuffix .alone,$(wildcard $(1)/*.h $(1)/*/*.h))
HEADERS := $(call alone,bpf/lib) $(call alone,bpf/abi)
$(HEADERS): %.alone: %
	$(Q)$(CLANG) $(filter-out -M%,$(BPF_CFLAGS)) -fsyntax-only -include $< -x c /dev/null

# --- C: who may include what ---------------------------------------------------------------------------------------------
# A layer sees its own directory, those inside it, and the layers below it, which are named here; bpf/abi is seen as "abi/...".

# $(call compile,DIRECTORY,FLAGS,WHAT MUST BE THERE): the objects of a directory.
define compile
$(O)/$(1)/%.o: $(1)/%.c Makefile | $(O)/include/abi $(3)
	$$(call say,CC,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $(2) -c $$< -o $$@
HEADERS += $(call alone,$(1))
$(call alone,$(1)): %.alone: % | $(O)/include/abi $(3)
	$$(Q)$$(CC) $$(filter-out -M%,$$(CFLAGS_ALL)) $(2) -fsyntax-only -include $$< -x c /dev/null
endef

# $(call layer,DIRECTORY,FLAGS OF THOSE BELOW,WHAT MUST BE THERE): its flags INC_<name>, its objects, an archive of all but main.c.
define layer
INC_$(notdir $(1)) := $(2) $(addprefix -I,$(call directories,$(1)))
$(call compile,$(1),$(2) $(addprefix -I,$(call directories,$(1))),$(3))
$(O)/$(1).a: $(call objs,$(filter-out %/main.c,$(call sources,$(1))))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef

ABI := -I$(O)/include
$(eval $(call layer,user/lib))
$(eval $(call layer,user/nl,$(INC_lib)))
$(eval $(call layer,user/dp,$(INC_nl) $(ABI),$(SKEL)))
$(eval $(call layer,user/objects,$(INC_lib)))
$(eval $(call layer,user/policy,$(INC_objects) $(ABI)))
$(eval $(call layer,user/kube,$(INC_objects)))
$(eval $(call layer,user/flows,$(INC_dp)))
$(eval $(call layer,user/agent,$(INC_dp) $(INC_policy) $(INC_kube)))
$(eval $(call layer,user/cli,$(INC_flows) -Iuser/policy))
$(eval $(call layer,cni,$(INC_dp)))
# Unit and fuzz tests may include everything but the programs' own headers.
INC_all := $(INC_cni) $(INC_cli) $(INC_agent)
$(eval $(call compile,tests/unit,$(INC_all),$(SKEL)))
$(eval $(call compile,tests/policy,$(INC_policy)))
$(eval $(call compile,tests/bpf,$(INC_dp) -Iuser/policy,$(SKEL)))
$(eval $(call compile,tests/vm,$(INC_dp),$(SKEL)))
$(eval $(call compile,tests/bench,$(INC_lib)))
$(eval $(call compile,tests/lib,$(INC_kube)))

# Skeletons are generated code: their warnings are not ours.
$(O)/user/dp/%.o: WARN += -Wno-shadow

link = $(call say,LD,$@)
do_link = $(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

$(O)/warren-cni: $(O)/cni/main.o $(O)/cni.a $(DP)
	$(link)
	$(do_link)

$(O)/warren: $(O)/user/cli/main.o $(O)/user/cli.a $(O)/user/policy.a $(O)/user/flows.a $(DP)
	$(link)
	$(do_link)

$(O)/warren-agent: $(O)/user/agent/main.o $(AGENT) $(DP)
	$(link)
	$(do_link) $(AGENT_LIBS)

$(O)/warren.bash-completion: $(O)/warren
	$(call say,GEN,$@)
	$(Q)$< completion bash > $@.tmp && mv $@.tmp $@

# --- the image ------------------------------------------------------------------------------------------------------------

IMAGE_DIR ?= $(O)/image
# The reference plugin for hostPorts, for hosts without it.
PORTMAP ?= $(firstword $(wildcard /usr/lib/cni/portmap /opt/cni/bin/portmap))

image-root: $(PROGRAMS) ## what is in the image, as a directory
	$(call say,ROOT,$(IMAGE_DIR)/root)
	$(Q)rm -rf $(IMAGE_DIR)/root
	$(Q)packaging/image busybox $(IMAGE_DIR)/root
	$(Q)packaging/image programs $(IMAGE_DIR)/root $(PROGRAMS) $(PORTMAP)
	$(Q)umask 022 && echo 'hosts: files dns' >$(IMAGE_DIR)/root/etc/nsswitch.conf
	$(Q)umask 022 && echo 'multi on' >$(IMAGE_DIR)/root/etc/host.conf # all addresses of a name in /etc/hosts, not its first

image: image-root ## an image for containerd, kind and Docker in $(O)/image/warren.tar, without any of them
	$(call say,IMAGE,$(IMAGE_DIR)/warren.tar)
	$(Q)packaging/image pack $(IMAGE_DIR)/warren.tar $(IMAGE) $(IMAGE_DIR)/root cmd=/usr/sbin/warren-agent path=/usr/sbin:/bin \
		org.opencontainers.image.title=warren org.opencontainers.image.version=$(VERSION) \
		org.opencontainers.image.licenses='BSD-2-Clause AND (GPL-2.0-only OR BSD-2-Clause)' \
		org.opencontainers.image.description='Container networking on eBPF'

# --- tests ----------------------------------------------------------------------------------------------------------------

UNIT_BIN := $(call tests,unit/test_*)
# Everything that a unit or fuzz test may link.
TEST_ARCHIVES := $(O)/cni.a $(O)/user/cli.a $(AGENT) $(O)/user/flows.a $(DP)
FILTER := $(O)/tests/lib/filter.o
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(FILTER) $(TEST_ARCHIVES)
	$(link)
	$(do_link) $(AGENT_LIBS) -lcmocka

# The agent's tests use the random clusters of the compiler's tests, too.
$(O)/tests/unit/test_apply: $(call objs,$(addprefix tests/policy/,cluster.c copy.c check.c explanation.c naive.c tables.c))

POLICYTEST_BIN := $(O)/tests/policy/policytest
$(POLICYTEST_BIN): $(call objs,$(call sources,tests/policy)) $(FILTER) $(O)/user/policy.a $(O)/user/objects.a $(O)/user/lib.a
	$(link)
	$(do_link) -lcmocka

BPFTEST_BIN := $(O)/tests/bpf/bpftest
$(BPFTEST_BIN): $(call objs,$(call sources,tests/bpf)) $(FILTER) $(O)/user/policy.a $(DP)
	$(link)
	$(do_link) -lcmocka

VM_BIN := $(O)/tests/vm/verify
$(VM_BIN): $(call objs,$(call sources,tests/vm)) $(DP)
	$(link)
	$(do_link)

# The API client by hand, for tests of tests/net and tests/kube.
APICTL := $(O)/tests/lib/apictl
$(APICTL): $(O)/tests/lib/apictl.o $(O)/user/kube.a $(O)/user/objects.a $(O)/user/lib.a
	$(link)
	$(do_link) $(AGENT_LIBS)

# And the API server as a source of objects.
WATCHCTL := $(O)/tests/lib/watchctl
$(WATCHCTL): $(O)/tests/lib/watchctl.o $(O)/user/kube.a $(O)/user/objects.a $(O)/user/lib.a
	$(link)
	$(do_link) $(AGENT_LIBS)

unit: $(UNIT_BIN) ## build the unit tests
apiclients: $(APICTL) $(WATCHCTL) ## build the API client and source of objects that network tests drive
bpftest: $(BPFTEST_BIN) ## build the BPF packet tests
verify: $(VM_BIN) ## build what asks the verifier about each program
policytest: $(POLICYTEST_BIN) ## build the compiler's differential tests

# libFuzzer comes with clang; everything it sees is instrumented, in a build directory of its own.
FUZZ_BIN := $(call tests,fuzz/fuzz_*)
$(O)/tests/fuzz/%: tests/fuzz/%.c $(TEST_ARCHIVES)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(INC_all) -fsanitize=fuzzer $(LDFLAGS_ALL) -o $@ $< $(filter %.a,$^) $(LIBS) $(AGENT_LIBS)
fuzz-targets: $(FUZZ_BIN)
fuzz: ## build the fuzz targets into $(O)-fuzz
	$(Q)$(MAKE) O=$(O)-fuzz CC=$(CLANG) SAN=address,undefined CFLAGS='-fsanitize=fuzzer-no-link' fuzz-targets

BENCH_BIN := $(addprefix $(O)/bench/,cnitime load plugintime)
$(O)/bench/load: $(call objs,$(wildcard tests/bench/load_*.c))
$(O)/bench/%: $(O)/tests/bench/%.o $(O)/user/lib.a
	$(link)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lpthread -lm
benchtools: $(BENCH_BIN)

# The reference runtime's own tool, a test peer.
$(O)/cnitool:
	$(call say,GO,$@)
	$(Q)tests/lib/cnitool.sh $@
cnitool: $(O)/cnitool

test: ## what every change must pass: install what is missing, build, run (root); about 12 minutes
	@echo "make test takes about 12 minutes on 2 processors that do nothing else, 4 GB of memory, and 3 GB of disk for packages and build*/."
	@echo "Here: $$(nproc) processors with a load of $$(cut -d' ' -f1 /proc/loadavg), $$(awk '/^MemAvailable/ { printf "%d", $$2 / 1048576 }' /proc/meminfo) GB of memory and $$(df -BG --output=avail . | tr -dc 0-9) GB of disk free."
	@echo "It leaves out what is slow, random or sensitive to time (make test-long), the rest of Kubernetes' tests (make test-e2e), and the benches (make bench)."
	$(Q)tests/run.sh gate

test-long: ## everything but test-e2e, with drawn seeds and orders: about an hour; STAGES="vm kube" for some, and make test-times says which there are (root)
	$(Q)tests/run.sh long $(STAGES)

test-times: ## how long each stage of test-long takes
	$(Q)tests/run.sh expected

test-attack: ## every attack of tests/attack, the long ones too (root)
	$(Q)tests/run.sh long attack attack-alone

soak: programs ## three nodes under a fault every 10 s for WARREN_SOAK_SECONDS (3600), and a churn of 1,000 pods; reports in $(O)/soak (root)
	$(Q)WARREN_BUILD=$(abspath $(O)) $(PYTHON) -m pytest -p no:cacheprovider -q -s tests/soak

test-vm: programs $(UNIT_BIN) $(BPFTEST_BIN) $(VM_BIN) ## run what depends on the kernel on Debian's 6.1 and 6.12, in QEMU
	$(Q)WARREN_BUILD=$(abspath $(O)) tests/vm/run.sh

test-e2e: ## a real Kubernetes in namespaces, and Warren as its network: an hour and a half, 11 minutes more at first, to build it (root)
	$(Q)tests/kube/run.sh about
	$(Q)$(MAKE) image apiclients
	$(Q)WARREN_BUILD=$(abspath $(O)) tests/kube/run.sh

test-all: ## everything that is tested: test-long and test-e2e, each of them whatever the other did; most of three hours (root)
	$(Q)failed=; for suite in test-long test-e2e; do $(MAKE) $$suite || failed="$$failed $$suite"; done; \
		if [ -n "$$failed" ]; then echo "test-all: failed:$$failed"; exit 1; fi; echo "test-all: everything passed"

figures-kube: image ## what Warren takes in that Kubernetes, with up to 50,000 pods as objects (root)
	$(Q)tests/kube/build.sh
	$(Q)WARREN_BUILD=$(abspath $(O)) $(PYTHON) -m pytest -p no:cacheprovider -q -s tests/kube/test_figures.py

demo: ## install what is missing, build, and show a node with real pods (root)
	$(Q)examples/demo.sh

bench: ## measure against direct veth, bridge, ptp, routed; table, JSON and plot in $(O)/bench (root)
	$(Q)tests/bench/run.sh

bench-peers: image benchtools ## measure beside Cilium, flannel and bridge in a real Kubernetes; builds them at first; in $(O)/bench-peers (root)
	$(Q)tests/kube/build.sh cluster
	$(Q)tests/peers/build.sh
	$(Q)WARREN_BUILD=$(abspath $(O)) $(PYTHON) tests/peers/peers.py $(PEERS_OPTIONS)

# --- care -----------------------------------------------------------------------------------------------------------------

headers: $(HEADERS) ## compile each header alone, as its directory sees it
.PHONY: headers $(HEADERS)

lint: all ## who includes and calls whom, retired words, spelling, man pages, gcc, clang, clang-tidy, cppcheck, shellcheck: any finding fails
	$(Q)O=$(O) tests/lib/lint.sh

C_FILES = $(shell git ls-files '*.c' '*.h')
format: ## clang-format, in place
	$(Q)clang-format -i $(C_FILES)

compile_commands.json: ## for editors and clang-tidy
	$(Q)$(MAKE) -nB V=1 O=$(O) programs unit bpftest policytest verify benchtools CC=$(CC) | tests/lib/compile_commands.py > $@

# Where each file goes; NetworkManager has no directory below /usr/local.
BIN_FILES := $(PREFIX)/sbin/warren $(PREFIX)/sbin/warren-agent $(CNI_BIN_DIR)/warren-cni
PLUGIN_FILE := $(PREFIX)/bin/kubectl-warren
COMPLETION_FILE := $(PREFIX)/share/bash-completion/completions/warren
MAN_FILES := $(addprefix $(PREFIX)/share/man/man8/,$(notdir $(wildcard user/man/*.8)))
UNIT_FILE := $(PREFIX)/lib/systemd/system/warren-agent.service
NETWORKD_FILE := $(PREFIX)/lib/systemd/network/05-warren.network
NETWORKMANAGER_FILE := $(SYSCONFDIR)/NetworkManager/conf.d/warren.conf
MANIFESTS_DIR := $(SYSCONFDIR)/warren/manifests

install: all ## install programs, kubectl's plugin, completion, man pages, the agent's unit, and files for network managers below DESTDIR
	for file in $(BIN_FILES); do install -D -m 0755 $(O)/$${file##*/} $(DESTDIR)$$file || exit; done
	install -D -m 0755 packaging/kubectl-warren $(DESTDIR)$(PLUGIN_FILE)
	install -D -m 0644 $(O)/warren.bash-completion $(DESTDIR)$(COMPLETION_FILE)
	for file in $(MAN_FILES); do install -D -m 0644 user/man/$${file##*/} $(DESTDIR)$$file || exit; done
	install -D -m 0644 examples/warren-agent.service $(DESTDIR)$(UNIT_FILE)
	sed -i 's|/usr/local/sbin|$(PREFIX)/sbin|; s|/etc/warren/manifests|$(MANIFESTS_DIR)|' $(DESTDIR)$(UNIT_FILE)
	install -d $(DESTDIR)$(MANIFESTS_DIR)
	install -D -m 0644 packaging/05-warren.network $(DESTDIR)$(NETWORKD_FILE)
	install -D -m 0644 packaging/networkmanager.conf $(DESTDIR)$(NETWORKMANAGER_FILE)

uninstall: ## remove what install put there; manifests stay
	rm -f $(addprefix $(DESTDIR),$(BIN_FILES) $(PLUGIN_FILE) $(COMPLETION_FILE) $(MAN_FILES) $(UNIT_FILE) $(NETWORKD_FILE) $(NETWORKMANAGER_FILE))
	rmdir --ignore-fail-on-non-empty $(DESTDIR)$(MANIFESTS_DIR) $(DESTDIR)$(SYSCONFDIR)/warren 2>/dev/null || true

clean: ## remove what was built
	rm -rf $(O) $(O)-* compile_commands.json

-include $(shell find $(O) -name '*.d' 2>/dev/null)
