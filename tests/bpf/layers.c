/* SPDX-License-Identifier: BSD-2-Clause */
#include "layers.h"

#include <assert.h>
#include <string.h>

#include "abi/abi.h"
#include "abi/node.h"
#include "bytes.h"

const struct layer_defaults defaults_from_pod = { MAC_A, MAC_HOST, POD_A, POD_B };
const struct layer_defaults defaults_to_pod = { MAC_HOST, MAC_A, WORLD, POD_A };
const struct layer_defaults defaults_from_b = { MAC_B, MAC_HOST, POD_B, POD_A };
const struct layer_defaults defaults_to_b = { MAC_HOST, MAC_B, WORLD, POD_B };
const struct layer_defaults defaults_from_uplink = { MAC_OTHER, MAC_HOST, WORLD, POD_A };
const struct layer_defaults defaults_from_host = { MAC_HOST, MAC_HOST, HOST, POD_C };

static const struct {
	uint8_t v4[4], v6[16];
} whos[WHOS] = {
	[POD_A] = { { 10, 88, 0, 10 }, { 0xfd, 0x88, [15] = 0x10 } },
	[POD_B] = { { 10, 88, 0, 11 }, { 0xfd, 0x88, [15] = 0x11 } },
	[HOST] = { { 10, 88, 0, 1 }, { 0xfd, 0x88, [15] = 1 } },
	[WORLD] = { { 198, 51, 100, 7 }, { 0x20, 0x01, 0x0d, 0xb8, [15] = 7 } },
	[GW] = { { 169, 254, 1, 1 }, { 0xfe, 0x80, [15] = 1 } },
	[GW_GROUP] = { { 224, 0, 0, 1 }, { 0xff, 2, [11] = 1, [12] = 0xff, [15] = 1 } },
	[MULTI] = { { 224, 0, 0, 251 }, { 0xff, 2, [15] = 0xfb } },
	[BROADCAST] = { { 255, 255, 255, 255 }, { 0xff, 2, [15] = 1 } },
	[LOOPBACK] = { { 127, 0, 0, 1 }, { [15] = 1 } },
	[ZERO] = { { 0 }, { 0 } },
	[RESERVED] = { { 240, 0, 0, 1 }, { [10] = 0xff, 0xff, 10, 88, 0, 11 } },
	[METADATA] = { { 169, 254, 169, 254 }, { 0xfd, 0, 0x0e, 0xc2, [14] = 2, 0x54 } },
	[LINK_LOCAL] = { { 169, 254, 7, 7 }, { 0xfe, 0x80, [15] = 2 } },
	[WORLD_NEAR] = { { 198, 51, 100, 6 }, { 0x20, 0x01, 0x0d, 0xb8, [15] = 6 } },
	[WORLD_FAR] = { { 198, 18, 0, 1 }, { 0x20, 0x01, 0x0d, 0xb9, [15] = 1 } },
	[NODE] = { { 192, 0, 2, 1 }, { 0x20, 0x01, 0x0d, 0xba, [15] = 1 } },
	[NODE_C] = { { 192, 0, 2, 2 }, { 0x20, 0x01, 0x0d, 0xba, [15] = 2 } },
	[GW_C] = { { 10, 88, 1, 1 }, { 0xfd, 0x88, [7] = 1, [15] = 1 } },
	[POD_C] = { { 10, 88, 1, 10 }, { 0xfd, 0x88, [7] = 1, [15] = 0x10 } },
	[POD_C2] = { { 10, 88, 1, 11 }, { 0xfd, 0x88, [7] = 1, [15] = 0x11 } },
	[NODE_D] = { { 192, 0, 2, 3 }, { 0x20, 0x01, 0x0d, 0xba, [15] = 3 } },
	[POD_D] = { { 10, 88, 2, 10 }, { 0xfd, 0x88, [7] = 2, [15] = 0x10 } },
	[NODE_C_LIKE] = { { 192, 0, 2, 130 }, { 0x20, 0x01, 0x0d, 0x3a, [11] = 0x80, [15] = 0x82 } },
	[POD_C_LIKE] = { { 10, 216, 1, 10 }, { 0xfd, 0x88, [3] = 0x80, [7] = 1, [11] = 0x80, [15] = 0x90 } },
};

static const uint8_t macs[MACS][6] = {
	[MAC_A] = { 0x0a, 0, 0, 0, 0, 0x0a },  [MAC_B] = { 0x0a, 0, 0, 0, 0, 0x0b },
	[MAC_HOST] = WR_HOST_MAC,              [MAC_OTHER] = { 0x0a, 0, 0, 0, 0xff, 0x0f },
	[MAC_GENEVE_FROM] = { 0x02, 0x57, 0x52, 0, 0, 2 }, [MAC_GENEVE_TO] = { 0x02, 0x57, 0x52, 0, 0, 3 },
	[MAC_BROADCAST] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
};

const uint8_t *who_address(enum who who, bool v6)
{
	return v6 ? whos[who].v6 : whos[who].v4;
}

const uint8_t *mac_address(enum mac mac)
{
	return macs[mac];
}

enum { P_HOP = 0, P_ICMP4 = 1, P_IPIP = 4, P_TCP = 6, P_UDP = 17, P_IP6 = 41, P_ROUTE = 43, P_FRAG = 44, P_ICMP6 = 58,
       P_NONE = 59, P_DST = 60, P_SCTP = 132 };

struct builder {
	struct frame *f;
	const struct layer *layers;
	const struct layer_defaults *d;
	bool v6[LAYERS + 1];    /* each layer's family */
	size_t off[LAYERS + 1]; /* where each layer starts */
	size_t end;             /* of the packet, before any padding */
};

static int value(int given, int otherwise)
{
	return given ? given & 0xffffff : otherwise;
}

static size_t layer_size(const struct layer *l, bool v6)
{
	switch (l->kind) {
	case L_GENEVE:
		return 8;
	case L_OPT:
		return 4 + l->n;
	case L_ETH:
		return 14;
	case L_VLAN:
		return 4;
	case L_ARP:
		return 28;
	case L_IP:
		return v6 ? 40 : 20 + (value(l->words, 5) > 5 ? (value(l->words, 5) - 5) * 4 : 0);
	case L_HOP:
	case L_DST:
	case L_ROUTE:
		return 8 * (size_t)value(l->words, 1);
	case L_FRAG:
		return v6 ? 8 : 0;
	case L_TCP:
		return (value(l->words, 5) > 5 ? value(l->words, 5) * 4 : 20) + l->n;
	case L_UDP:
	case L_ICMP:
		return 8 + l->n;
	case L_SCTP:
		return 12 + l->n;
	case L_ND:
		return l->option ? 32 : 24;
	case L_RAW:
	case L_PAD:
		return l->n;
	default:
		return 0;
	}
}

/* The next-header value for the layer behind a header. */
static int layer_proto(const struct layer *l, bool v6)
{
	static const int protos[] = { [L_HOP] = P_HOP,   [L_DST] = P_DST,   [L_ROUTE] = P_ROUTE, [L_FRAG] = P_FRAG,
				      [L_TCP] = P_TCP,   [L_UDP] = P_UDP,   [L_ND] = P_ICMP6,    [L_SCTP] = P_SCTP, [L_GENEVE] = P_NONE, [L_OPT] = P_NONE, [L_ETH] = P_NONE };

	switch (l->kind) {
	case L_FRAG:
		return v6 ? P_FRAG : layer_proto(l + 1, v6);
	case L_ICMP:
		return v6 ? P_ICMP6 : P_ICMP4;
	case L_IP:
		return v6 ? P_IP6 : P_IPIP;
	case L_RAW:
		return l->proto;
	case L_END:
	case L_PAD:
		return P_NONE;
	default:
		return protos[l->kind];
	}
}

static int icmp_number(int type, bool v6)
{
	static const uint8_t numbers[][2] = { [ECHO] = { 8, 128 },    [ECHO_REPLY] = { 0, 129 },
					      [UNREACHABLE] = { 3, 1 }, [TOO_BIG] = { 3, 2 },
					      [EXCEEDED] = { 11, 3 },   [PARAMETER] = { 12, 4 } };

	return type > PARAMETER ? value(type, 0) : numbers[type][v6];
}

static const uint8_t *address(const struct builder *b, int i, enum who given, enum who otherwise)
{
	return who_address(given ? given : otherwise, b->v6[i]);
}

static void fill_ip(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];
	const struct layer *frag = l[1].kind == L_FRAG ? &l[1] : NULL;
	size_t total = b->end - b->off[i];

	h[0] = value(l->version, b->v6[i] ? 6 : 4) << 4;
	if (b->v6[i]) {
		h[0] |= l->tos >> 4;
		h[1] = l->tos << 4 | value(l->id, 0) >> 16;
		put16(h + 2, value(l->id, 0));
		put16(h + 4, value(l->len, total - 40));
		h[6] = value(l->proto, layer_proto(l + 1, true));
		h[7] = value(l->ttl, 64);
		memcpy(h + 8, address(b, i, l->src, b->d->src), 16);
		memcpy(h + 24, address(b, i, l->dst, b->d->dst), 16);
		return;
	}
	h[0] |= value(l->words, 5);
	h[1] = l->tos;
	put16(h + 2, value(l->len, total));
	put16(h + 6, l->df ? 0x4000 : 0);
	if (frag) {
		put16(h + 4, value(frag->id, 0x4242));
		put16(h + 6, frag->off / 8 | (frag->more ? 0x2000 : 0));
	}
	h[8] = value(l->ttl, 64);
	h[9] = value(l->proto, layer_proto(l + 1, false));
	memcpy(h + 12, address(b, i, l->src, b->d->src), 4);
	memcpy(h + 16, address(b, i, l->dst, b->d->dst), 4);
	memset(h + 20, 1, layer_size(l, false) - 20); /* options: no-operation */
	put16(h + 10, 0);
	put16(h + 10, ~sum16(0, h, layer_size(l, false)));
}

/* The checksum at `at` over everything from layer i on, with the pseudo header of the IP header before it. */
static void fill_checksum(struct builder *b, int i, uint8_t *at, int proto, bool pseudo)
{
	size_t len = b->end - b->off[i], n = b->v6[i] ? 16 : 4;
	const struct layer *ip = &b->layers[i];
	uint32_t sum = 0;

	while (ip > b->layers && ip->kind != L_IP)
		ip--;
	if (pseudo) {
		sum = sum16(sum, address(b, i, ip->src, b->d->src), n);
		sum = sum16(sum, address(b, i, ip->dst, b->d->dst), n);
		sum += len + proto;
	}
	put16(at, 0);
	put16(at, ~sum16(sum, b->f->data + b->off[i], len));
}

static void fill_nd(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];

	h[0] = value(l->type, 135);
	h[1] = l->code;
	put32(h + 4, h[0] == 136 ? 0xe0000000 : 0);
	memcpy(h + 8, who_address(l->target ? l->target : GW, true), 16);
	if (l->option) {
		h[24] = value(l->option, 0);
		h[25] = value(l->words, 1);
		memcpy(h + 26, macs[l->smac ? l->smac : b->d->smac], 6);
	}
	fill_checksum(b, i, h + 2, P_ICMP6, true);
}

static void fill_arp(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];

	put16(h, value(l->proto, 1)); /* hardware type */
	put16(h + 2, 0x0800);
	h[4] = 6;
	h[5] = value(l->len, 4);
	put16(h + 6, value(l->type, 1));
	memcpy(h + 8, macs[l->smac ? l->smac : b->d->smac], 6);
	memcpy(h + 14, address(b, i, l->src, b->d->src), 4);
	memcpy(h + 18, macs[l->dmac ? l->dmac : MAC_ZERO], 6);
	memcpy(h + 24, address(b, i, l->dst, GW), 4);
}

static void fill_l4(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];

	switch (l->kind) {
	case L_TCP:
		put16(h, value(l->sport, 40000));
		put16(h + 2, value(l->dport, 80));
		put32(h + 4, l->seq ?: (value(l->flags, ACK) & SYN ? FIRST_SEQ : FIRST_SEQ + 1));
		put32(h + 8, l->ack ?: (value(l->flags, ACK) & ACK ? FIRST_SEQ + 1 : 0));
		h[12] = value(l->words, 5) << 4;
		h[13] = value(l->flags, ACK);
		fill_checksum(b, i, h + 16, P_TCP, true);
		break;
	case L_UDP:
		put16(h, value(l->sport, 40000));
		put16(h + 2, value(l->dport, 53));
		put16(h + 4, value(l->len, b->end - b->off[i]));
		fill_checksum(b, i, h + 6, P_UDP, true);
		if (l->check)
			put16(h + 6, value(l->check, 0));
		break;
	case L_SCTP:
		put16(h, value(l->sport, 40000));
		put16(h + 2, value(l->dport, 5000));
		if (l->n < 0)
			break;
		put32(h + 4, l->seq);
		sctp_sum_put(h, l->check ? (uint32_t)value(l->check, 0) : sctp_sum(h, b->end - b->off[i]));
		break;
	case L_ICMP:
		h[0] = icmp_number(l->type ? l->type : ECHO, b->v6[i]);
		h[1] = l->code;
		put32(h + 4, l->id ? (uint32_t)l->id : 0x12340001);
		fill_checksum(b, i, h + 2, P_ICMP6, b->v6[i]);
		break;
	default:
		break;
	}
}

/* The length of all options, in words. */
static int options_words(const struct layer *l)
{
	int bytes = 0;

	for (; l->kind == L_OPT; l++)
		bytes += layer_size(l, false);
	return (bytes + 3) / 4;
}

static void fill_geneve(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];

	if (l->kind == L_GENEVE) {
		h[0] = value(l->version, 0) << 6 | value(l->words, options_words(l + 1));
		h[1] = l->flags;
		put16(h + 2, value(l->proto, 0x6558));
		put32(h + 4, (uint32_t)value(l->vni, 1) << 8 | l->code);
		return;
	}
	put16(h, value(l->class, WR_TUNNEL_OPTION_CLASS));
	h[2] = value(l->type, WR_TUNNEL_OPTION);
	h[3] = value(l->words, l->n / 4) | l->code << 5;
	for (int n = 0; n < l->n; n++)
		h[4 + n] = n < 8 ? l->identity >> (56 - 8 * n) : (uint8_t)n;
}

/* Ethernet headers and VLAN tags: each has the type of the next. */
static void fill_link(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];
	unsigned type = b->v6[i] ? 0x86dd : 0x0800;

	if (l[1].kind == L_VLAN)
		type = 0x8100;
	else if (l[1].kind == L_ARP)
		type = 0x0806;
	if (l->kind == L_VLAN) {
		put16(h, 5);
		put16(h + 2, type);
		return;
	}
	memcpy(h, macs[l->dmac ? l->dmac : b->d->dmac], 6);
	memcpy(h + 6, macs[l->smac ? l->smac : b->d->smac], 6);
	put16(h + 12, value(l->proto, type));
}

/* PadN options over so many bytes. */
static void fill_padding(uint8_t *h, int n)
{
	for (int len; n > 0; h += len, n -= len) {
		len = n < 257 ? n : 257;
		memset(h, 0, len);
		if (len < 2)
			continue; /* Pad1 */
		h[0] = 1;
		h[1] = len - 2;
	}
}

/* Of a routing header, its type (none: 1) and as many segments left; else an option of 16 bytes behind `off` bytes of padding. */
static void fill_extension(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];
	const int end = 8 * value(l->words, 1);

	h[0] = value(l->proto, layer_proto(l + 1, true));
	h[1] = value(l->len, end / 8 - 1);
	fill_padding(h + 2, l->option ? l->off : end - 2);
	if (l->kind == L_ROUTE)
		h[2] = value(l->type, 1);
	if (!l->option)
		return;
	h[2 + l->off] = l->option;
	h[3 + l->off] = 16;
	memset(h + 4 + l->off, 0x20, 16);
	fill_padding(h + 20 + l->off, end - 20 - l->off);
}

static void fill_fragment(struct builder *b, int i, uint8_t *h)
{
	const struct layer *l = &b->layers[i];

	if (!b->v6[i])
		return;
	h[0] = value(l->proto, layer_proto(l + 1, true));
	put16(h + 2, l->off | !!l->more);
	put32(h + 4, value(l->id, 0x4242));
}

static void fill_layer(struct builder *b, int i)
{
	static void (*const fill[])(struct builder *b, int i, uint8_t *h) = {
		[L_ETH] = fill_link,      [L_VLAN] = fill_link,     [L_ARP] = fill_arp,         [L_IP] = fill_ip,
		[L_HOP] = fill_extension, [L_DST] = fill_extension, [L_ROUTE] = fill_extension, [L_FRAG] = fill_fragment,
		[L_TCP] = fill_l4,        [L_UDP] = fill_l4,        [L_ICMP] = fill_l4,         [L_SCTP] = fill_l4,
		[L_ND] = fill_nd,         [L_GENEVE] = fill_geneve, [L_OPT] = fill_geneve,      [L_PAD] = NULL,
	};
	const enum layer_kind kind = b->layers[i].kind;

	if (fill[kind])
		fill[kind](b, i, b->f->data + b->off[i]);
}

/* Of an Ethernet header and its tags it is that of the IP header behind them. */
static void families_find(struct builder *b, bool v6, bool over6)
{
	bool now = v6;

	for (int n = 0; b->layers[n].kind != L_END; n++) {
		const struct layer *ip = &b->layers[n];

		if (ip->kind == L_ETH)
			while (ip->kind != L_END && ip->kind != L_IP)
				ip++;
		if (ip->kind == L_IP)
			now = ip->outer ? over6 : v6;
		b->v6[n] = now;
	}
}

void frame_build_over(struct frame *f, const struct layer *layers, const struct layer_defaults *defaults, bool v6, bool over6)
{
	struct builder b = { .f = f, .layers = layers, .d = defaults };
	int n = 0;

	families_find(&b, v6, over6);
	f->len = 0;
	for (; layers[n].kind != L_END; n++) {
		size_t size = layer_size(&layers[n], b.v6[n]);

		assert(n < LAYERS && f->len + size <= FRAME_MAX);
		b.off[n] = f->len;
		memset(f->data + f->len, 0, size);
		if (layers[n].kind == L_RAW || layers[n].kind == L_PAD)
			for (size_t i = 0; i < size; i++)
				f->data[f->len + i] = i * 7 + 1;
		f->len += size;
		if (layers[n].kind != L_PAD)
			b.end = f->len;
	}
	while (n--)
		fill_layer(&b, n);
}

void frame_build(struct frame *f, const struct layer *layers, const struct layer_defaults *defaults, bool v6)
{
	frame_build_over(f, layers, defaults, v6, v6);
}
