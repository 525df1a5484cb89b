/* SPDX-License-Identifier: BSD-2-Clause */
#include "tunnel_frame.h"

#include <string.h>

#include "bytes.h"

/* --- build --- */

static struct layer further(int what)
{
	if (what >= 200)
		return (struct layer)OPT(.n = 8, .identity = TUNNEL_IDENTITY);
	return (struct layer)OPT(.class = 0x0100, .type = what >= 100 ? 0x81 : 1, .n = what % 100 * 4);
}

static size_t options_put(struct layer *at, const struct tunnel_fields *fields)
{
	size_t n = 0;

	if (fields->before)
		at[n++] = further(fields->before);
	if (!fields->no_option)
		at[n++] = (struct layer)OPT(.class = fields->option_class, .type = fields->option_type, .n = 8,
					    .words = fields->option_words, .identity = TUNNEL_IDENTITY);
	if (fields->tag)
		at[n++] = (struct layer)OPT(.type = fields->tag_type ? fields->tag_type : WR_TUNNEL_OPTION_KEY, .n = 8,
					    .words = fields->tag_words, .identity = fields->tag);
	if (fields->after)
		at[n++] = further(fields->after);
	return n;
}

static void add16(uint8_t *at, int what)
{
	put16(at, read16(at) + (unsigned)what);
}

void tunnel_build(struct tunnel_frame *t, const struct tunnel_fields *fields)
{
	const int payload = fields->payload ? fields->payload : 20;
	const size_t inner = 14 + (fields->inner6 ? 40 : 20) + (size_t)payload + (size_t)fields->padding;
	uint8_t *data = t->f.data, *ip;
	struct layer l[LAYERS] = {
		ETH(),
		IP(.outer = true, .src = NODE_C, .dst = fields->elsewhere ? NODE_D : NODE, .tos = fields->tos, .df = 1,
		   .words = fields->ip_options ? 6 : 0),
	};
	size_t n = 2;

	if (fields->more || fields->later)
		l[n++] = (struct layer)FRAG(.more = fields->more, .off = fields->later ? 800 : 0);
	l[n++] = (struct layer)UDP(.sport = fields->sport ? fields->sport : 50000, .dport = fields->port ? fields->port : WR_TUNNEL_PORT,
				   .check = V(fields->checksum));
	l[n++] = (struct layer)GENEVE(.version = fields->version, .vni = fields->vni, .proto = fields->protocol,
				      .flags = fields->flags, .words = fields->words);
	n += options_put(&l[n], fields);
	l[n++] = (struct layer)ETH(.proto = fields->inner_type);
	l[n++] = (struct layer)IP(.src = POD_C, .version = fields->inner_version, .words = fields->inner_ihl,
				  .tos = fields->inner_tos);
	l[n++] = (struct layer)RAW(.proto = 17, .n = payload);
	l[n++] = (struct layer)PAD(.n = fields->padding);
	frame_build_over(&t->f, l, &defaults_from_uplink, fields->inner6, fields->outer6);
	t->outer = t->f.len - inner;
	ip = data + t->outer + 14;
	add16(ip + (fields->inner6 ? 4 : 2), fields->inner_len);
	add16(data + (fields->outer6 ? 18 : 16), fields->ip_len);
	add16(data + (fields->outer6 ? 54 : 34) + 4, fields->udp_len);
	if (fields->unknown_sender)
		data[fields->outer6 ? 37 : 29] ^= 8;
}

/* --- state --- */

static bool key_required;

static void state_put(bool decap, unsigned cluster, unsigned node)
{
	const struct wr_uplink uplink = { .flags = decap ? WR_UPLINK_DECAP : 0, .magic = TUNNEL_MAGIC };
	const uint32_t ifindex = device_ifindex(DEVICE_UPLINK);

	node_reset(0, false);
	cluster_put(NODE, POD_A, WR_CLUSTER_SPORTS | cluster);
	node_put(SLOT_C, node);
	map_put("uplinks", &ifindex, &uplink);
	key_required = cluster & WR_CLUSTER_KEY_REQUIRED;
}

void tunnel_state(bool decap)
{
	state_put(decap, 0, 0);
}

void tunnel_state_keyed(bool decap, bool required)
{
	state_put(decap, required ? WR_CLUSTER_KEY_REQUIRED : 0, WR_NODE_KEYED);
}

void tunnel_forget(void)
{
	const uint32_t ifindex = device_ifindex(DEVICE_UPLINK);

	map_drop("uplinks", &ifindex);
}

/* --- the model --- */

#define DROP(name) return (struct outcome){ .reason = WR_REASON_TUNNEL_##name }
static const struct outcome passes = { .reason = WR_REASON_NONE };

/* The second option, and only there: `size` bytes of options at g[8]. */
static bool model_tag_right(const uint8_t *g, size_t size)
{
	uint64_t tag = 0;

	if (size < 24 || read16(g + 20) != WR_TUNNEL_OPTION_CLASS || g[22] != WR_TUNNEL_OPTION_KEY || (g[23] & 0x1f) != 2)
		return false;
	for (int i = 0; i < 8; i++)
		tag = tag << 8 | g[24 + i];
	return tag == RX_TAG(SLOT_C, 0) || tag == RX_TAG(SLOT_C, 1);
}

/* Geneve, `len` bytes of it, up to the inner Ethernet header. */
static struct outcome model_geneve(const uint8_t *g, size_t len, size_t *used)
{
	struct outcome o = passes;
	size_t end, at = 8;
	int identities = 0;

	if (len < 8 || g[0] >> 6 || read16(g + 2) != 0x6558)
		DROP(MALFORMED);
	if (g[1] & 0x80)
		DROP(OPTION);
	if ((g[4] << 16 | g[5] << 8 | g[6]) != WR_TUNNEL_VNI)
		DROP(VNI);
	end = 8 + (g[0] & 0x3fu) * 4;
	if (end + 14 > len)
		DROP(MALFORMED);
	if (key_required && !model_tag_right(g, end - 8))
		DROP(KEY);
	while (at < end) {
		size_t size = 4 + (g[at + 3] & 0x1fu) * 4;

		if (at + size > end)
			DROP(MALFORMED);
		if (read16(g + at) != WR_TUNNEL_OPTION_CLASS || g[at + 2] != WR_TUNNEL_OPTION) {
			if (g[at + 2] & 0x80)
				DROP(OPTION);
		} else {
			if (identities++ || size != 12)
				DROP(OPTION);
			for (int i = 0; i < 8; i++)
				o.identity = o.identity << 8 | g[at + 4 + i];
		}
		at += size;
	}
	if (!identities)
		DROP(OPTION);
	if (g[1] & 0x40)
		DROP(MALFORMED);
	*used = end;
	return o;
}

static struct outcome model_inner(const uint8_t *in, size_t len, unsigned outer_ecn)
{
	struct outcome o = passes;
	unsigned type = read16(in + 12), ecn;

	in += 14;
	len -= 14;
	if (type == 0x0800) {
		if (len < 20 || in[0] >> 4 != 4 || read16(in + 2) != len)
			DROP(MALFORMED);
		ecn = in[1] & 3;
	} else if (type == 0x86dd) {
		if (len < 40 || in[0] >> 4 != 6 || read16(in + 4) + 40u != len)
			DROP(MALFORMED);
		ecn = in[1] >> 4 & 3;
	} else {
		DROP(MALFORMED);
	}
	o.decap = !outer_ecn || outer_ecn == ecn;
	return o;
}

struct outcome tunnel_model(const uint8_t *data, size_t len)
{
	const bool v6 = len >= 14 && read16(data + 12) == 0x86dd;
	const size_t l4 = v6 ? 54 : 34;
	size_t l4_len, used = 0;
	struct outcome o, inner;
	unsigned ecn;

	if (len < l4 + 8 || (!v6 && read16(data + 12) != 0x0800))
		return passes;
	if (v6 ? data[14] >> 4 != 6 || data[20] != 17 || memcmp(data + 38, who_address(NODE, true), 16) != 0
	       : data[14] != 0x45 || data[23] != 17 || memcmp(data + 30, who_address(NODE, false), 4) != 0 || read16(data + 20) & 0x1fff)
		return passes;
	if (read16(data + l4 + 2) != WR_TUNNEL_PORT)
		return passes;
	if (!v6 && data[20] & 0x20)
		DROP(FRAGMENT);
	l4_len = v6 ? read16(data + 18) : (size_t)(read16(data + 16) - 20);
	if (read16(data + l4 + 4) != l4_len || l4 + l4_len > len || l4_len < 8)
		DROP(MALFORMED);
	if (read16(data + l4) < WR_TUNNEL_SPORT_FIRST)
		DROP(SPORT);
	if (memcmp(data + (v6 ? 22 : 26), who_address(NODE_C, v6), v6 ? 16 : 4) != 0)
		DROP(SENDER);
	o = model_geneve(data + l4 + 8, l4_len - 8, &used);
	if (o.reason)
		return o;
	ecn = v6 ? data[15] >> 4 & 3 : data[15] & 3;
	inner = model_inner(data + l4 + 8 + used, l4_len - 8 - used, ecn);
	o.reason = inner.reason;
	o.decap = inner.decap && !read16(data + l4 + 6) && len == l4 + l4_len;
	o.outer = l4 + 8 + used;
	return o;
}
