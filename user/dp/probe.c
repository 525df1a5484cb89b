/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel can do, found out by making it do it. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <netinet/in.h>

#include "cleanup.h"
#include "internal.h"

/* Of kernel 6.3: newer than the headers that this may be built with. */
#define ADJ_ROOM_DECAP_L3_IPV4 (1 << 7)

#define INSN(code_, dst, src, imm_)                                         \
	{                                                                   \
		.code = (code_), .dst_reg = (dst), .src_reg = (src), .imm = (imm_) \
	}
#define MOV(dst, imm) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, imm)

/* The first of two IPv4 headers is taken away; older kernels refuse the flag (-EINVAL). */
bool dp_can_decap_l3(void)
{
	const struct bpf_insn insns[] = {
		MOV(BPF_REG_2, -(int)sizeof(struct iphdr)),
		MOV(BPF_REG_3, BPF_ADJ_ROOM_MAC),
		MOV(BPF_REG_4, ADJ_ROOM_DECAP_L3_IPV4),
		INSN(BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_skb_adjust_room),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0),
	};
	struct {
		struct ethhdr eth;
		struct iphdr outer, inner;
	} __attribute__((packed)) frame = {
		.eth.h_proto = htons(ETH_P_IP),
		.outer = { .version = 4, .ihl = 5, .protocol = IPPROTO_IPIP },
		.inner = { .version = 4, .ihl = 5 },
	};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &frame, .data_size_in = sizeof(frame), .repeat = 1);
	_cleanup_fd_ int prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "decap_l3", "BSD", insns,
					      sizeof(insns) / sizeof(insns[0]), NULL);

	return prog >= 0 && bpf_prog_test_run_opts(prog, &opts) == 0 && opts.retval == 0;
}
