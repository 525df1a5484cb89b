/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The uplinks: devices by which other nodes are reached, or that have this node's addresses. from_uplink and XDP are
 * attached to each of them and to no other device.
 */
#include "cluster_internal.h"

#include <errno.h>
#include <stdio.h>

#include "array.h"

static struct uplink *uplink_find(const struct cluster *c, uint32_t ifindex)
{
	for (size_t i = 0; i < c->uplink_count; i++) {
		if (c->uplinks[i].ifindex == ifindex)
			return &c->uplinks[i];
	}
	return NULL;
}

bool is_uplink(const struct cluster *c, uint32_t ifindex)
{
	return uplink_find(c, ifindex);
}

static struct uplink *uplink_get(struct cluster *c, uint32_t ifindex)
{
	struct uplink *uplink = uplink_find(c, ifindex);

	if (uplink)
		return uplink;
	if (array_grow(&c->uplinks, &c->uplink_room, c->uplink_count, sizeof(*c->uplinks)) < 0)
		return NULL;
	c->uplinks[c->uplink_count] = (struct uplink){ .ifindex = ifindex };
	return &c->uplinks[c->uplink_count++];
}

int uplink_require(struct cluster *c, uint32_t ifindex, bool own, struct err *err)
{
	struct uplink *uplink = uplink_get(c, ifindex);
	int ret;

	if (!uplink)
		return err_set(err, ENOMEM, "no memory for an uplink");
	ret = uplink->attached ? 0 : c->ops->uplink_attach(c->arg, ifindex, err);
	uplink->attached = ret == 0;
	uplink->own |= own && ret == 0;
	return ret;
}

void uplinks_clear_own(struct cluster *c)
{
	for (size_t i = 0; i < c->uplink_count; i++)
		c->uplinks[i].own = false;
}

static void uplink_xdp_report(struct cluster *c, struct uplink *uplink, const struct err *err)
{
	char what[32];

	if (!err && !uplink->xdp_failed)
		return;
	uplink->xdp_failed = err;
	snprintf(what, sizeof(what), "XDP of device %u", uplink->ifindex);
	c->events.report_problem(c->events.arg, what, err);
}

static int uplink_found(uint32_t ifindex, void *arg)
{
	struct uplink *uplink = uplink_get(arg, ifindex);

	if (!uplink)
		return -ENOMEM;
	uplink->attached = true;
	return 0;
}

int uplinks_load(struct cluster *c, struct err *err)
{
	for (size_t i = 0; i < c->uplink_count; i++)
		uplink_xdp_report(c, &c->uplinks[i], NULL);
	c->uplink_count = 0;
	return c->ops->uplink_each(c->arg, uplink_found, c, err);
}

/*
 * Only after from_uplink is attached, which handles the packets that xdp_uplink passes on. Packets arrive without XDP
 * too, so a failure is only a problem. Another program there (EBUSY) or a driver without support (EOPNOTSUPP) may be
 * permanent, and no event announces their end: the next run for any reason tries again. Other failures are retried
 * soon.
 */
void uplinks_xdp(struct cluster *c)
{
	for (size_t i = 0; i < c->uplink_count; i++) {
		struct uplink *uplink = &c->uplinks[i];
		struct err err = { 0 };
		int ret;

		if (!uplink->attached || uplink->xdp)
			continue;
		ret = c->ops->uplink_xdp(c->arg, uplink->ifindex, c->options->xdp, &err);
		uplink->xdp = ret == 0;
		uplink_xdp_report(c, uplink, ret < 0 && ret != -ENODEV ? &err : NULL);
		if (ret < 0 && ret != -EBUSY && ret != -EOPNOTSUPP && ret != -ENODEV)
			c->again = true;
	}
}

/*
 * Detaches the programs from an unused uplink. XDP only if the configured mode is native or generic; in mode auto it
 * stays, since it may have been attached by the operator.
 */
static int uplink_drop(struct cluster *c, const struct uplink *uplink, struct err *err)
{
	const bool detach_xdp = uplink->xdp && (c->options->xdp == DP_XDP_NATIVE || c->options->xdp == DP_XDP_GENERIC);
	int ret = detach_xdp ? c->ops->uplink_xdp(c->arg, uplink->ifindex, DP_XDP_OFF, err) : 0;

	if (ret == 0 && uplink->attached)
		ret = c->ops->uplink_detach(c->arg, uplink->ifindex, err);
	return ret == -ENODEV ? 0 : ret;
}

int uplinks_detach_unused(struct cluster *c, struct err *err)
{
	for (size_t i = 0; i < c->uplink_count; i++)
		c->uplinks[i].in_use = c->uplinks[i].own;
	for (size_t i = 0; i < c->count; i++) {
		struct uplink *uplink = c->members[i]->slot ? uplink_get(c, c->members[i]->node.uplink) : NULL;

		if (uplink)
			uplink->in_use = true;
	}
	for (size_t i = c->uplink_count; i-- > 0;) {
		struct uplink *uplink = &c->uplinks[i];
		int ret = uplink->in_use ? 0 : uplink_drop(c, uplink, err);

		if (ret < 0)
			return ret;
		if (uplink->in_use)
			continue;
		uplink_xdp_report(c, uplink, NULL);
		*uplink = c->uplinks[--c->uplink_count];
	}
	return 0;
}
