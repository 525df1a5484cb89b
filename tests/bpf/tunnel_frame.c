/* SPDX-License-Identifier: BSD-2-Clause */
#include "tunnel_frame.h"

#include <arpa/inet.h>
#include <string.h>

#include "bytes.h"

static const uint8_t local4[] = { 192, 0, 2, 1 }, remote4[] = { 192, 0, 2, 2 }, stranger4[] = { 192, 0, 2, 9 };
static const uint8_t local6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 }, remote6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 2 },
		     stranger6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 9 };

#define GIVEN(field, usual) (fields->field ? fields->field & 0xffffff : (usual))

const uint8_t *tunnel_remote(bool v6)
{
	return v6 ? remote6 : remote4;
}

static void put_bytes(struct frame *f, const void *bytes, size_t size)
{
	memcpy(f->data + f->len, bytes, size);
	f->len += size;
}

/* --- build --- */

static void put_option(struct frame *f, unsigned class, unsigned type, unsigned words, size_t data)
{
	uint8_t option[4 + 64] = { (uint8_t)(class >> 8), (uint8_t)class, (uint8_t)type, (uint8_t)words };

	for (int i = 0; i < 8; i++)
		option[4 + i] = (uint8_t)(TUNNEL_IDENTITY >> (56 - 8 * i));
	put_bytes(f, option, 4 + data);
}

static void put_further(struct frame *f, int what)
{
	unsigned words = (unsigned)what % 100;

	if (what >= 200)
		put_option(f, WR_TUNNEL_OPTION_CLASS, WR_TUNNEL_OPTION, 2, 8);
	else if (what)
		put_option(f, 0x0100, what >= 100 ? 0x81 : 0x01, words, words * 4);
}

static void put_inner(struct frame *f, const struct tunnel_fields *fields)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	const size_t header = fields->inner6 ? 40 : 20, payload = (size_t)(fields->payload ? fields->payload : 20);
	uint8_t ip[40] = { 0 }, type[2], bytes[256];
	int length = (int)(payload + (fields->inner6 ? 0 : header)) + fields->inner_len;

	put_bytes(f, macs, sizeof(macs));
	put16(type, (unsigned)GIVEN(inner_type, fields->inner6 ? 0x86dd : 0x0800));
	put_bytes(f, type, sizeof(type));
	if (fields->inner6) {
		ip[0] = (uint8_t)(GIVEN(inner_version, 6) << 4 | fields->inner_tos >> 4);
		ip[1] = (uint8_t)(fields->inner_tos << 4);
		put16(ip + 4, (unsigned)length);
		ip[6] = 17;
	} else {
		ip[0] = (uint8_t)(GIVEN(inner_version, 4) << 4 | GIVEN(inner_ihl, 5));
		ip[1] = (uint8_t)fields->inner_tos;
		put16(ip + 2, (unsigned)length);
		ip[9] = 17;
	}
	put_bytes(f, ip, header);
	for (size_t i = 0; i < payload; i++)
		bytes[i % sizeof(bytes)] = (uint8_t)i;
	put_bytes(f, bytes, payload);
}

static void put_geneve(struct frame *f, const struct tunnel_fields *fields)
{
	size_t at = f->len;
	uint8_t header[8] = { 0 };
	unsigned vni = (unsigned)GIVEN(vni, TUNNEL_VNI);

	header[1] = (uint8_t)fields->flags;
	put16(header + 2, (unsigned)GIVEN(protocol, 0x6558));
	header[4] = (uint8_t)(vni >> 16);
	put16(header + 5, vni);
	put_bytes(f, header, sizeof(header));
	put_further(f, fields->before);
	if (!fields->no_option)
		put_option(f, (unsigned)GIVEN(option_class, WR_TUNNEL_OPTION_CLASS), (unsigned)GIVEN(option_type, WR_TUNNEL_OPTION),
			   (unsigned)GIVEN(option_words, 2), 8);
	put_further(f, fields->after);
	f->data[at] = (uint8_t)(fields->version << 6 | (GIVEN(words, (int)(f->len - at - 8) / 4) & 0x3f));
}

static void put_outer(struct frame *f, const struct tunnel_fields *fields)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 0x12 }, options[4] = { 1, 1, 1, 0 };
	const bool v6 = fields->outer6;
	const uint8_t *src = fields->stranger ? v6 ? stranger6 : stranger4 : tunnel_remote(v6);
	const uint8_t *dst = fields->elsewhere ? v6 ? stranger6 : stranger4 : v6 ? local6 : local4;
	uint8_t ip[40] = { 0 }, type[2];

	put_bytes(f, macs, sizeof(macs));
	put16(type, v6 ? 0x86dd : 0x0800);
	put_bytes(f, type, sizeof(type));
	if (v6) {
		ip[0] = (uint8_t)(0x60 | fields->tos >> 4);
		ip[1] = (uint8_t)(fields->tos << 4);
		ip[6] = fields->more || fields->later ? 44 : 17;
		memcpy(ip + 8, src, 16);
		memcpy(ip + 24, dst, 16);
		put_bytes(f, ip, 40);
		return;
	}
	ip[0] = (uint8_t)(0x45 + fields->ip_options);
	ip[1] = (uint8_t)fields->tos;
	put16(ip + 6, fields->later ? 100 : fields->more ? 0x2000 : 0x4000);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, src, 4);
	memcpy(ip + 16, dst, 4);
	put_bytes(f, ip, 20);
	if (fields->ip_options)
		put_bytes(f, options, sizeof(options));
}

void tunnel_build(struct tunnel_frame *t, const struct tunnel_fields *fields)
{
	struct frame *f = &t->f;
	uint8_t udp[8] = { 0 };
	size_t l4;

	memset(t, 0, sizeof(*t));
	put_outer(f, fields);
	l4 = f->len;
	put16(udp, 50000);
	put16(udp + 2, (unsigned)GIVEN(port, WR_TUNNEL_PORT));
	put16(udp + 6, (unsigned)fields->checksum);
	put_bytes(f, udp, sizeof(udp));
	put_geneve(f, fields);
	t->outer = f->len;
	put_inner(f, fields);
	put16(f->data + l4 + 4, (unsigned)((int)(f->len - l4) + fields->udp_len));
	if (fields->outer6)
		put16(f->data + 18, (unsigned)((int)(f->len - 54) + fields->ip_len));
	else
		put16(f->data + 16, (unsigned)((int)(f->len - 14) + fields->ip_len));
	f->len += (size_t)fields->padding;
}

/* --- state --- */

void tunnel_state(bool decap)
{
	struct wr_cluster c = {
		.revision = 1,
		.flags = WR_CLUSTER_V4 | WR_CLUSTER_V6,
		.vni = TUNNEL_VNI,
		.port = htons(WR_TUNNEL_PORT),
		.option_class = htons(WR_TUNNEL_OPTION_CLASS),
	};
	const struct wr_node node = { .id = 1 };
	const struct wr_node_ref ref = { TUNNEL_SLOT };
	const struct wr_uplink uplink = { .flags = decap ? WR_UPLINK_DECAP : 0, .magic = TUNNEL_MAGIC };
	const uint32_t zero = 0, slot = TUNNEL_SLOT, ifindex = device_ifindex(DEVICE_UPLINK);

	memcpy(&c.addr4, local4, 4);
	memcpy(&c.addr6, local6, 16);
	map_clear("node_addr4"); /* what other tests have left would be believed */
	map_clear("node_addr6");
	map_put("cluster", &zero, &c);
	map_put("nodes", &slot, &node);
	map_put("node_addr4", remote4, &ref);
	map_put("node_addr6", remote6, &ref);
	map_put("uplinks", &ifindex, &uplink);
}

void tunnel_forget(void)
{
	const struct wr_cluster c = { 0 };
	const struct wr_node node = { 0 };
	const uint32_t zero = 0, slot = TUNNEL_SLOT, ifindex = device_ifindex(DEVICE_UPLINK);

	map_put("cluster", &zero, &c);
	map_put("nodes", &slot, &node);
	map_drop("node_addr4", remote4);
	map_drop("node_addr6", remote6);
	map_drop("uplinks", &ifindex);
}

/* --- the model --- */

#define DROP(name) return (struct outcome){ .reason = WR_REASON_TUNNEL_##name }
static const struct outcome passes = { .reason = WR_REASON_NONE };

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
	if ((g[4] << 16 | g[5] << 8 | g[6]) != TUNNEL_VNI)
		DROP(VNI);
	end = 8 + (g[0] & 0x3fu) * 4;
	if (end + 14 > len)
		DROP(MALFORMED);
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
	if (v6 ? data[14] >> 4 != 6 || data[20] != 17 || memcmp(data + 38, local6, 16) != 0
	       : data[14] != 0x45 || data[23] != 17 || memcmp(data + 30, local4, 4) != 0 || read16(data + 20) & 0x1fff)
		return passes;
	if (read16(data + l4 + 2) != WR_TUNNEL_PORT)
		return passes;
	if (!v6 && data[20] & 0x20)
		DROP(FRAGMENT);
	l4_len = v6 ? read16(data + 18) : (size_t)(read16(data + 16) - 20);
	if (read16(data + l4 + 4) != l4_len || l4 + l4_len > len || l4_len < 8)
		DROP(MALFORMED);
	if (memcmp(data + (v6 ? 22 : 26), tunnel_remote(v6), v6 ? 16 : 4) != 0)
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
