/* SPDX-License-Identifier: BSD-2-Clause */
/* "ipam" of the configuration. */
#include "ipam.h"

#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

#define REST_DEFAULT 30 /* seconds: longer than peers keep a freed address in their caches */
#define REST_MAX 86400
#define RANGES_MAX 256 /* in a set: each is compared with every other */

/*
 * The allocatable addresses of a subnet. Its first address is the network address or, in IPv6, the subnet-router
 * anycast address (RFC 4291 section 2.6.1); IPv4's last one is the broadcast address. Point-to-point subnets (RFC 3021,
 * RFC 6164) and single addresses have neither.
 */
static void subnet_bounds(struct ip_range *range)
{
	unsigned host_bits = ip_bits(&range->subnet.ip) - range->subnet.len;

	range->first = prefix_first(&range->subnet);
	range->last = prefix_last(&range->subnet);
	if (host_bits < 2)
		return;
	range->first = ip_add(range->first, 1);
	if (range->subnet.ip.family == AF_INET)
		range->last = ip_add(prefix_first(&range->subnet), (1ull << host_bits) - 2);
}

/* The address at `key`, which must be in the range's subnet. */
static int get_address(const json_t *json, const char *key, const struct ip_range *range, struct ip *ip,
		       struct err *err)
{
	char text[PREFIX_STRLEN];
	const char *value;
	int ret = json_get_string(json, key, &value, err);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	if (ip_parse(value, ip) < 0)
		return err_set(err, EINVAL, "\"%s\" (%.64s) is not an address", key, value);
	if (!prefix_contains(&range->subnet, ip))
		return err_set(err, EINVAL, "\"%s\" (%.64s) is not in %s", key, value,
			       prefix_format(&range->subnet, text));
	return 0;
}

static int parse_subnet(const json_t *json, struct ip_range *range, struct err *err)
{
	struct ip network;
	const char *text;
	int ret = json_get_string(json, "subnet", &text, err);

	if (ret == -ENOENT)
		return err_set(err, EINVAL, "a range has no \"subnet\"");
	if (ret < 0)
		return ret;
	if (prefix_parse(text, &range->subnet) < 0)
		return err_set(err, EINVAL, "\"subnet\" (%.64s) is not an address with a prefix length", text);
	network = prefix_first(&range->subnet);
	if (!ip_equal(&network, &range->subnet.ip))
		return err_set(err, EINVAL, "\"subnet\" (%.64s) has host bits set", text);
	return 0;
}

static int parse_range(const json_t *json, struct ip_range *range, struct err *err)
{
	struct ip start, end;
	int ret;

	if (!json_is_object(json))
		return err_set(err, EINVAL, "a range must be an object");
	ret = parse_subnet(json, range, err);
	if (ret < 0)
		return ret;
	subnet_bounds(range);
	start = range->first;
	end = range->last;
	/* The only address of a /32 or /128 is a pod's; the first one of a larger subnet is the gateway. */
	if (range->subnet.len < ip_bits(&range->subnet.ip))
		range->gateway = range->first;
	ret = get_address(json, "gateway", range, &range->gateway, err);
	if (ret == 0)
		ret = get_address(json, "rangeStart", range, &start, err);
	if (ret == 0)
		ret = get_address(json, "rangeEnd", range, &end, err);
	if (ret < 0)
		return ret;
	if (ip_cmp(&start, &range->first) > 0)
		range->first = start;
	if (ip_cmp(&end, &range->last) < 0)
		range->last = end;
	if (ip_cmp(&range->first, &range->last) > 0)
		return err_set(err, EINVAL,
			       "a range is empty: \"rangeStart\" comes after \"rangeEnd\", or nothing is usable");
	if (range->gateway.family && ip_equal(&range->first, &range->gateway) &&
	    ip_equal(&range->last, &range->gateway))
		return err_set(err, EINVAL, "a range is empty: its only address is the gateway");
	return 0;
}

static int check_overlap(const struct range_set *set, size_t n, struct err *err)
{
	char a[PREFIX_STRLEN], b[PREFIX_STRLEN];

	for (size_t i = 0; i < n; i++) {
		if (set->ranges[i].subnet.ip.family != set->ranges[n].subnet.ip.family)
			return err_set(err, EINVAL, "a set of ranges mixes IPv4 and IPv6: write one set for each");
		if (ip_cmp(&set->ranges[i].first, &set->ranges[n].last) <= 0 &&
		    ip_cmp(&set->ranges[n].first, &set->ranges[i].last) <= 0)
			return err_set(err, EINVAL, "ranges of %s and %s overlap",
				       prefix_format(&set->ranges[i].subnet, a),
				       prefix_format(&set->ranges[n].subnet, b));
	}
	return 0;
}

static int parse_set(const json_t *json, struct ipam_conf *conf, struct err *err)
{
	size_t count = json_array_size(json);
	struct range_set set = { calloc(count ? count : 1, sizeof(*set.ranges)), 0 }, *slot;
	int ret = 0;

	if (!set.ranges)
		return err_errno(err, ENOMEM, "ranges");
	if (count < 1 || count > RANGES_MAX)
		ret = err_set(err, EINVAL, "a set of ranges must be an array of 1 to %d ranges", RANGES_MAX);
	for (; ret == 0 && set.count < count; set.count++) {
		ret = parse_range(json_array_get(json, set.count), &set.ranges[set.count], err);
		if (ret == 0)
			ret = check_overlap(&set, set.count, err);
	}
	if (ret == 0) {
		slot = set.ranges[0].subnet.ip.family == AF_INET ? &conf->set4 : &conf->set6;
		if (!slot->count) {
			*slot = set;
			return 0;
		}
		ret = err_set(err, EINVAL, "two sets of ranges of one family; a pod has at most one address of each");
	}
	free(set.ranges);
	return ret;
}

static int parse_ranges(const json_t *ipam, struct ipam_conf *conf, struct err *err)
{
	json_t *sets = NULL, *set;
	size_t i;
	int ret = json_get_array(ipam, "ranges", &sets, err);

	if (ret < 0 && ret != -ENOENT)
		return ret;
	if (json_array_size(sets) == 0) {
		err_set(err, EINVAL, "\"ranges\" is missing or empty");
		return err_hint(err, "for example: \"ranges\": [[{\"subnet\": \"10.1.0.0/24\"}]]");
	}
	json_array_foreach(sets, i, set) {
		ret = parse_set(set, conf, err);
		if (ret < 0)
			return err_wrap(err, "\"ranges\"");
	}
	return 0;
}

/* An exclusion: a prefix or a single address. */
static int parse_exclusion(const json_t *json, struct prefix *prefix, struct err *err)
{
	const char *text = json_string_value(json);

	if (!text)
		return err_set(err, EINVAL, "\"exclude\" must be prefixes or addresses");
	if (prefix_parse(text, prefix) == 0) {
		prefix->ip = prefix_first(prefix);
		return 0;
	}
	if (ip_parse(text, &prefix->ip) < 0)
		return err_set(err, EINVAL, "\"exclude\": %.64s is neither a prefix nor an address", text);
	prefix->len = (uint8_t)ip_bits(&prefix->ip);
	return 0;
}

static int compare_prefixes(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

/* Sorts and makes disjoint: of two overlapping prefixes one contains the other and sorts first. */
static void sort_exclusions(struct ipam_conf *conf)
{
	size_t kept = 0;

	qsort(conf->exclude, conf->exclude_count, sizeof(*conf->exclude), compare_prefixes);
	for (size_t i = 0; i < conf->exclude_count; i++) {
		if (!kept || !prefix_contains(&conf->exclude[kept - 1], &conf->exclude[i].ip))
			conf->exclude[kept++] = conf->exclude[i];
	}
	conf->exclude_count = kept;
}

static int parse_exclusions(const json_t *ipam, struct ipam_conf *conf, struct err *err)
{
	json_t *list = NULL;
	size_t count;
	int ret = json_get_array(ipam, "exclude", &list, err);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	count = json_array_size(list);
	conf->exclude = calloc(count ? count : 1, sizeof(*conf->exclude));
	if (!conf->exclude)
		return err_errno(err, ENOMEM, "exclude");
	for (; conf->exclude_count < count; conf->exclude_count++) {
		ret = parse_exclusion(json_array_get(list, conf->exclude_count), &conf->exclude[conf->exclude_count],
				      err);
		if (ret < 0)
			return ret;
	}
	sort_exclusions(conf);
	return 0;
}

int ipam_conf_parse(const json_t *ipam, struct ipam_conf *conf, struct err *err)
{
	int64_t rest = REST_DEFAULT;
	int ret = json_get_int(ipam, "rest", 0, REST_MAX, &rest, err);

	if (ret == 0 || ret == -ENOENT)
		ret = json_get_string(ipam, "dataDir", &conf->data_dir, err);
	if (ret < 0 && ret != -ENOENT)
		return ret;
	if (conf->data_dir && conf->data_dir[0] != '/')
		return err_set(err, EINVAL, "\"dataDir\" must be an absolute path");
	conf->rest = (unsigned)rest;
	ret = parse_ranges(ipam, conf, err);
	return ret < 0 ? ret : parse_exclusions(ipam, conf, err);
}

void ipam_conf_free(struct ipam_conf *conf)
{
	free(conf->set4.ranges);
	free(conf->set6.ranges);
	free(conf->exclude);
	*conf = (struct ipam_conf){ 0 };
}
