# SPDX-License-Identifier: BSD-2-Clause
# Warren. `make help` lists what there is to make.

O ?= build
PREFIX ?= /usr/local
CNI_BIN_DIR ?= /opt/cni/bin
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(shell command -v bpftool || ls /usr/sbin/bpftool /usr/local/sbin/bpftool 2>/dev/null | head -n 1)
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)')

# --- flags --------------------------------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 $(if $(findstring clang,$(CC)),,-Wno-format-truncation) -Wundef \
	-Wno-unused-parameter -Wno-missing-field-initializers $(if $(WERROR),-Werror)
OPT ?= -O2
CFLAGS_ALL := -std=gnu11 -D_GNU_SOURCE -DWARREN_VERSION='"$(VERSION)"' $(OPT) -g -fno-strict-aliasing -MMD -MP $(WARN) $(CFLAGS)
LDFLAGS_ALL := $(LDFLAGS)
ifneq ($(SAN),)
CFLAGS_ALL += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS_ALL += -fsanitize=$(SAN)
endif

# With -target bpf clang finds asm/types.h only if told where this machine's is.
ARCH_INCLUDE := /usr/include/$(shell uname -m)-linux-gnu
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Wno-unused-parameter $(if $(WERROR),-Werror) -MMD -MP -Ibpf \
	-idirafter $(ARCH_INCLUDE)

# The plugin is one file that may be copied into any node image: what Debian ships as an archive is linked in.
# (It also starts faster and touches fewer pages than with seven shared objects.)
STATIC_LIBS := -lbpf -lelf -lz $(shell grep -aq ZSTD_ /usr/lib/*/libelf.a 2>/dev/null && echo -lzstd) -lnftnl -ljansson
LIBS := -Wl,-Bstatic $(STATIC_LIBS) -Wl,-Bdynamic -lmnl

# --- who may include what -------------------------------------------------------------------------------------------------
# A layer sees its own folder and those below it; bpf/abi is seen as "abi/...", bpf/lib by nobody here.

ABI := -I$(O)/include
INC_lib := -Iuser/lib
INC_nl := $(INC_lib) -Iuser/nl $(ABI)
INC_dp := $(INC_nl) -Iuser/dp
INC_policy := $(INC_lib) -Iuser/policy $(ABI)
INC_k8s := $(INC_policy) -Iuser/k8s
INC_agent := $(INC_dp) -Iuser/policy -Iuser/k8s -Iuser/agent
INC_cli := $(INC_dp) -Iuser/policy -Iuser/cli
INC_cni := $(INC_dp) -Icni
INC_unit := $(INC_cni) -Iuser/cli -Iuser/policy -Iuser/k8s -Iuser/agent -Itests/lib
INC_bpftest := $(INC_dp) -Iuser/policy -Itests/lib
INC_policytest := $(INC_policy) -Itests/lib
INC_bench := -Iuser/lib

# --- what there is --------------------------------------------------------------------------------------------------------

objs = $(patsubst %.c,$(O)/%.o,$(1))
LIB_SRC := $(sort $(wildcard user/lib/*.c))
NL_SRC := $(sort $(wildcard user/nl/*.c))
DP_SRC := $(sort $(wildcard user/dp/*.c))
POLICY_SRC := $(sort $(wildcard user/policy/*.c))
K8S_SRC := $(sort $(wildcard user/k8s/*.c))
AGENT_SRC := $(sort $(wildcard user/agent/*.c))
CLI_SRC := $(sort $(wildcard user/cli/*.c))
CNI_SRC := $(sort $(wildcard cni/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
POLICYTEST_SRC := $(sort $(wildcard tests/policy/*.c))
VM_SRC := $(sort $(wildcard tests/vm/*.c))
BPFTEST_SRC := $(sort $(wildcard tests/bpf/*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BPF_SRC := $(sort $(wildcard bpf/*.bpf.c))

ARCHIVES := $(O)/libwarren-dp.a $(O)/libwarren-nl.a $(O)/libwarren.a
SKEL := $(O)/include/warren.skel.h
POLICY_LIB := $(O)/libpolicy.a
K8S_LIB := $(O)/libk8s.a
# What only the agent needs is linked dynamically: it is one process a node, not one a pod.
AGENT_LIBS := -lyaml -luv -lmicrohttpd
PROGRAMS := $(O)/warren-cni $(O)/warren $(O)/warren-agent

.PHONY: all programs help deps install uninstall test test-vm demo bench lint format clean unit bpftest policytest fuzz verify benchtools cnitool compile_commands.json
.DELETE_ON_ERROR:
.SECONDARY:

all: programs $(O)/warren.bash-completion ## build the agent, the plugin, the CLI and its completion

programs: $(PROGRAMS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z.A-Z_-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "  Variables: O=$(O) V=1 SAN=address,undefined WERROR=1 CC=$(CC) CLANG=$(CLANG) PREFIX=$(PREFIX) DESTDIR= CNI_BIN_DIR=$(CNI_BIN_DIR)"

deps: ## install what building and testing need (Debian 12/13, Ubuntu 22.04/24.04)
	$(Q)tests/lib/deps.sh

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

$(SKEL): $(O)/warren.bpf.o
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name warren_bpf > $@.tmp && mv $@.tmp $@

# --- C --------------------------------------------------------------------------------------------------------------------

define compile
$(O)/$(1)/%.o: $(1)/%.c Makefile | $(O)/include/abi $(3)
	$$(call say,CC,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $(2) -c $$< -o $$@
endef
$(eval $(call compile,user/lib,$(INC_lib)))
$(eval $(call compile,user/nl,$(INC_nl)))
$(eval $(call compile,user/dp,$(INC_dp),$(SKEL)))
$(eval $(call compile,user/policy,$(INC_policy)))
$(eval $(call compile,user/k8s,$(INC_k8s)))
$(eval $(call compile,user/agent,$(INC_agent)))
$(eval $(call compile,user/cli,$(INC_cli)))
$(eval $(call compile,cni,$(INC_cni)))
$(eval $(call compile,tests/unit,$(INC_unit)))
$(eval $(call compile,tests/policy,$(INC_policytest)))
$(eval $(call compile,tests/bpf,$(INC_bpftest),$(SKEL)))
$(eval $(call compile,tests/vm,$(INC_dp),$(SKEL)))
$(eval $(call compile,tests/bench,$(INC_bench)))

# Skeletons are generated code: their warnings are not ours.
$(O)/user/dp/%.o: WARN += -Wno-shadow

define archive
$(1): $(2)
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(eval $(call archive,$(O)/libwarren.a,$(call objs,$(LIB_SRC))))
$(eval $(call archive,$(O)/libwarren-nl.a,$(call objs,$(NL_SRC))))
$(eval $(call archive,$(O)/libwarren-dp.a,$(call objs,$(DP_SRC))))
$(eval $(call archive,$(POLICY_LIB),$(call objs,$(POLICY_SRC))))
$(eval $(call archive,$(K8S_LIB),$(call objs,$(K8S_SRC))))
# The programs without main(), for the tests.
$(eval $(call archive,$(O)/libagent.a,$(call objs,$(filter-out user/agent/main.c,$(AGENT_SRC)))))
$(eval $(call archive,$(O)/libcni.a,$(call objs,$(filter-out cni/main.c,$(CNI_SRC)))))
$(eval $(call archive,$(O)/libcli.a,$(call objs,$(filter-out user/cli/main.c,$(CLI_SRC)))))

link = $(call say,LD,$@)
do_link = $(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o %.a,$^) $(LIBS)

$(O)/warren-cni: $(O)/cni/main.o $(O)/libcni.a $(ARCHIVES)
	$(link)
	$(do_link)

$(O)/warren: $(O)/user/cli/main.o $(O)/libcli.a $(POLICY_LIB) $(ARCHIVES)
	$(link)
	$(do_link)

$(O)/warren-agent: $(O)/user/agent/main.o $(O)/libagent.a $(K8S_LIB) $(POLICY_LIB) $(ARCHIVES)
	$(link)
	$(do_link) $(AGENT_LIBS)

$(O)/warren.bash-completion: $(O)/warren
	$(call say,GEN,$@)
	$(Q)$< completion bash > $@.tmp && mv $@.tmp $@

# --- tests ----------------------------------------------------------------------------------------------------------------

UNIT_BIN := $(patsubst tests/unit/%.c,$(O)/tests/unit/%,$(UNIT_SRC))
# Everything that a unit or fuzz test may link: the programs' archives before the layers below them.
TEST_ARCHIVES := $(O)/libcni.a $(O)/libcli.a $(O)/libagent.a $(K8S_LIB) $(POLICY_LIB) $(ARCHIVES)
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(TEST_ARCHIVES)
	$(link)
	$(do_link) $(AGENT_LIBS) -lcmocka

# The random clusters of the compiler's tests drive the agent's, too.
$(O)/tests/unit/test_apply: $(call objs,$(addprefix tests/policy/,cluster.c copy.c check.c naive.c tables.c))

POLICYTEST_BIN := $(O)/tests/policy/policytest
$(POLICYTEST_BIN): $(call objs,$(POLICYTEST_SRC)) $(POLICY_LIB) $(O)/libwarren.a
	$(link)
	$(do_link) -lcmocka

BPFTEST_BIN := $(O)/tests/bpf/bpftest
$(BPFTEST_BIN): $(call objs,$(BPFTEST_SRC)) $(POLICY_LIB) $(ARCHIVES)
	$(link)
	$(do_link) -lcmocka

VM_BIN := $(O)/tests/vm/verify
$(VM_BIN): $(call objs,$(VM_SRC)) $(ARCHIVES)
	$(link)
	$(do_link)

unit: $(UNIT_BIN) ## build the unit tests
bpftest: $(BPFTEST_BIN) ## build the BPF packet tests
verify: $(VM_BIN) ## build what asks the verifier about each program
policytest: $(POLICYTEST_BIN) ## build the compiler's differential tests

# libFuzzer comes with clang; everything it sees is instrumented, in a build folder of its own.
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(O)/tests/fuzz/%,$(FUZZ_SRC))
$(O)/tests/fuzz/%: tests/fuzz/%.c $(TEST_ARCHIVES)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(INC_unit) -fsanitize=fuzzer $(LDFLAGS_ALL) -o $@ $< $(filter %.a,$^) $(LIBS) $(AGENT_LIBS)
fuzz-targets: $(FUZZ_BIN)
fuzz: ## build the fuzz targets into $(O)-fuzz
	$(Q)$(MAKE) O=$(O)-fuzz CC=$(CLANG) SAN=address,undefined CFLAGS='-fsanitize=fuzzer-no-link' fuzz-targets

BENCH_BIN := $(addprefix $(O)/bench/,cnitime load)
$(O)/bench/load: $(call objs,$(wildcard tests/bench/load_*.c))
$(O)/bench/%: $(O)/tests/bench/%.o $(O)/libwarren.a
	$(link)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lpthread -lm
benchtools: $(BENCH_BIN)

# The reference runtime's own tool, a test peer.
$(O)/cnitool:
	$(call say,GO,$@)
	$(Q)tests/lib/cnitool.sh $@
cnitool: $(O)/cnitool

test: ## install what is missing, build, run every test (root)
	$(Q)tests/run.sh

test-vm: programs $(UNIT_BIN) $(BPFTEST_BIN) $(VM_BIN) ## run what depends on the kernel on Debian's 6.1 and 6.12, in QEMU
	$(Q)WARREN_BUILD=$(abspath $(O)) tests/vm/run.sh

demo: ## install what is missing, build, and show a node with real pods (root)
	$(Q)examples/demo.sh

bench: ## measure against direct veth, bridge, ptp, routed; table, JSON and plot in $(O)/bench (root)
	$(Q)tests/bench/run.sh

# --- care -----------------------------------------------------------------------------------------------------------------

lint: all ## who includes what, spelling, gcc, clang, clang-tidy, shellcheck: any finding fails
	$(Q)O=$(O) tests/lib/lint.sh

C_FILES = $(shell git ls-files '*.c' '*.h')
format: ## clang-format, in place
	$(Q)clang-format -i $(C_FILES)

compile_commands.json: ## for editors and clang-tidy
	$(Q)$(MAKE) -nB V=1 O=$(O) programs unit bpftest policytest verify benchtools CC=$(CC) | tests/lib/compile_commands.py > $@

install: all ## install the programs, completion and man pages below DESTDIR
	install -D -m 0755 $(O)/warren $(DESTDIR)$(PREFIX)/sbin/warren
	install -D -m 0755 $(O)/warren-agent $(DESTDIR)$(PREFIX)/sbin/warren-agent
	install -D -m 0755 $(O)/warren-cni $(DESTDIR)$(CNI_BIN_DIR)/warren-cni
	install -D -m 0644 $(O)/warren.bash-completion $(DESTDIR)$(PREFIX)/share/bash-completion/completions/warren
	install -D -m 0644 user/man/warren.8 $(DESTDIR)$(PREFIX)/share/man/man8/warren.8
	install -D -m 0644 user/man/warren-cni.8 $(DESTDIR)$(PREFIX)/share/man/man8/warren-cni.8
	install -D -m 0644 user/man/warren-agent.8 $(DESTDIR)$(PREFIX)/share/man/man8/warren-agent.8

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/sbin/warren $(DESTDIR)$(PREFIX)/sbin/warren-agent $(DESTDIR)$(CNI_BIN_DIR)/warren-cni
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/warren
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man8/,warren.8 warren-cni.8 warren-agent.8)

clean: ## remove what was built
	rm -rf $(O) $(O)-* compile_commands.json

-include $(shell find $(O) -name '*.d' 2>/dev/null)
