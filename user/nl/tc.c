/* SPDX-License-Identifier: BSD-2-Clause */
#include "tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "array.h"

#define FILTER_PRIO 1

/* Where a filter can be. Of filters of one priority, the kernel runs the one added last first. */
static const struct place {
	const char *name; /* "attach to the ..." */
	uint16_t parent;
	uint32_t handle;
} places[] = {
	[TC_INGRESS] = { "ingress", TC_H_MIN_INGRESS, 1 },
	[TC_EGRESS] = { "egress", TC_H_MIN_EGRESS, 1 },
	[TC_INGRESS_AHEAD] = { "head of the ingress", TC_H_MIN_INGRESS, 2 },
};

/* --- the qdisc --- */

static void put_clsact(struct nlmsghdr *nlh, uint32_t ifindex)
{
	struct tcmsg *tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));

	tcm->tcm_ifindex = (int)ifindex;
	tcm->tcm_parent = TC_H_CLSACT;
	tcm->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
}

void tc_clsact_add(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	struct nlmsghdr *nlh =
	    nl_request(nl, b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, EEXIST, "add clsact to device %u", ifindex);

	put_clsact(nlh, ifindex);
}

void tc_clsact_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	/* EINVAL: there is a qdisc of another kind (`ingress`). */
	put_clsact(nl_request(nl, b, RTM_DELQDISC, 0, EINVAL, "delete clsact from device %u", ifindex), ifindex);
	nl_ignore(b, ENOENT);
}

static int see_filter(const struct nlmsghdr *nlh, void *arg)
{
	*(bool *)arg = false;
	return MNL_CB_STOP;
}

int tc_clsact_empty(struct nl *nl, uint32_t ifindex, bool *empty, struct err *err)
{
	static const uint16_t parents[] = { TC_H_MIN_INGRESS, TC_H_MIN_EGRESS };
	int rc = 0;

	*empty = true;
	for (size_t i = 0; i < ARRAY_SIZE(parents) && rc == 0 && *empty; i++) {
		union nl_query q;
		struct tcmsg *tcm = nl_query(&q, RTM_GETTFILTER, NLM_F_DUMP, sizeof(*tcm));

		tcm->tcm_ifindex = (int)ifindex;
		tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, parents[i]);
		rc = nl_dump(nl, &q.head, see_filter, empty, err, "list tc filters");
	}
	return rc;
}

/* --- a filter --- */

/* The key of the filter. */
static void set_filter(struct tcmsg *tcm, uint32_t ifindex, enum tc_hook hook)
{
	tcm->tcm_ifindex = (int)ifindex;
	tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, places[hook].parent);
	tcm->tcm_handle = places[hook].handle;
	tcm->tcm_info = TC_H_MAKE(FILTER_PRIO << 16, htons(ETH_P_ALL));
}

void tc_filter_replace(struct nl *nl, struct nl_batch *b, uint32_t ifindex, enum tc_hook hook, int prog_fd,
		       const char *name)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, 0,
					  "attach %s to the %s of device %u", name, places[hook].name, ifindex);
	struct nlattr *options;

	set_filter(mnl_nlmsg_put_extra_header(nlh, sizeof(struct tcmsg)), ifindex, hook);
	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put_u32(nlh, TCA_BPF_FD, (uint32_t)prog_fd);
	mnl_attr_put_strz(nlh, TCA_BPF_NAME, name);
	mnl_attr_put_u32(nlh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nlh, options);
}

void tc_filter_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex, enum tc_hook hook)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_DELTFILTER, 0, ENOENT, "detach from the %s of device %u",
					  places[hook].name, ifindex);

	set_filter(mnl_nlmsg_put_extra_header(nlh, sizeof(struct tcmsg)), ifindex, hook);
	nl_ignore(b, EINVAL); /* not even a clsact */
}

static int filter_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[TCA_MAX + 1], *options[TCA_BPF_MAX + 1];
	uint32_t *prog_id = arg;

	nl_attrs(nlh, sizeof(struct tcmsg), tb, TCA_MAX);
	if (!tb[TCA_KIND] || strcmp(mnl_attr_get_str(tb[TCA_KIND]), "bpf") != 0 || !tb[TCA_OPTIONS])
		return MNL_CB_OK;
	nl_attrs_nested(tb[TCA_OPTIONS], options, TCA_BPF_MAX);
	if (options[TCA_BPF_ID])
		*prog_id = mnl_attr_get_u32(options[TCA_BPF_ID]);
	return MNL_CB_OK;
}

int tc_filter_get(struct nl *nl, uint32_t ifindex, enum tc_hook hook, uint32_t *prog_id, struct err *err)
{
	union nl_query q;
	int rc;

	*prog_id = 0;
	set_filter(nl_query(&q, RTM_GETTFILTER, 0, sizeof(struct tcmsg)), ifindex, hook);
	rc = nl_dump(nl, &q.head, filter_cb, prog_id, err, "read a tc filter");
	/* ENOENT: no filter there. EINVAL: not even a clsact. */
	return rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}
