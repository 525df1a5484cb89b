/* SPDX-License-Identifier: BSD-2-Clause */
#include "tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define FILTER_PRIO 1
#define FILTER_HANDLE 1

static const char *hook_name(enum tc_hook hook)
{
	return hook == TC_INGRESS ? "ingress" : "egress";
}

void tc_clsact_add(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	struct nlmsghdr *nlh =
	    nl_request(nl, b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, EEXIST, "add clsact to device %u", ifindex);
	struct tcmsg *tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));

	tcm->tcm_ifindex = (int)ifindex;
	tcm->tcm_parent = TC_H_CLSACT;
	tcm->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
}

static void put_program(struct nlmsghdr *nlh, int prog_fd, const char *name)
{
	struct nlattr *options;

	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put_u32(nlh, TCA_BPF_FD, (uint32_t)prog_fd);
	mnl_attr_put_strz(nlh, TCA_BPF_NAME, name);
	mnl_attr_put_u32(nlh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nlh, options);
}

void tc_clsact_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	/* EINVAL: a qdisc of another kind (`ingress`) stands there. */
	struct nlmsghdr *nlh =
	    nl_request(nl, b, RTM_DELQDISC, 0, EINVAL, "delete clsact from device %u", ifindex);
	struct tcmsg *tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));

	tcm->tcm_ifindex = (int)ifindex;
	tcm->tcm_parent = TC_H_CLSACT;
	tcm->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
	nl_ignore(b, ENOENT);
}

/* Where filters of a hook are. */
static struct tcmsg *put_hook_header(struct nlmsghdr *nlh, uint32_t ifindex, enum tc_hook hook)
{
	struct tcmsg *tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));

	tcm->tcm_ifindex = (int)ifindex;
	tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, hook == TC_INGRESS ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
	return tcm;
}

/* The one place where our filter can be. */
static void put_filter_header(struct nlmsghdr *nlh, uint32_t ifindex, enum tc_hook hook)
{
	struct tcmsg *tcm = put_hook_header(nlh, ifindex, hook);

	tcm->tcm_handle = FILTER_HANDLE;
	tcm->tcm_info = TC_H_MAKE(FILTER_PRIO << 16, htons(ETH_P_ALL));
}

/* Of one priority, the one that was added last comes first. */
#define AHEAD_HANDLE 2

static void put_ahead_header(struct nlmsghdr *nlh, uint32_t ifindex)
{
	struct tcmsg *tcm = put_hook_header(nlh, ifindex, TC_INGRESS);

	tcm->tcm_handle = AHEAD_HANDLE;
	tcm->tcm_info = TC_H_MAKE(FILTER_PRIO << 16, htons(ETH_P_ALL));
}

void tc_ahead_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	put_ahead_header(nl_request(nl, b, RTM_DELTFILTER, 0, ENOENT, "detach the filter ahead of device %u's", ifindex),
			 ifindex);
	nl_ignore(b, EINVAL); /* not even a clsact */
}

void tc_ahead_replace(struct nl *nl, struct nl_batch *b, uint32_t ifindex, int prog_fd, const char *name)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, 0,
					  "attach %s ahead of device %u's filter", name, ifindex);

	put_ahead_header(nlh, ifindex);
	put_program(nlh, prog_fd, name);
}

void tc_filter_replace(struct nl *nl, struct nl_batch *b, uint32_t ifindex, enum tc_hook hook, int prog_fd,
		       const char *name)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, 0,
					  "attach %s to the %s of device %u", name, hook_name(hook), ifindex);

	put_filter_header(nlh, ifindex, hook);
	put_program(nlh, prog_fd, name);
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
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	int rc;

	*prog_id = 0;
	nlh->nlmsg_type = RTM_GETTFILTER;
	put_filter_header(nlh, ifindex, hook);
	rc = nl_dump(nl, nlh, filter_cb, prog_id, err, "read a tc filter");
	/* ENOENT: no filter there. EINVAL: not even a clsact. */
	return rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}

void tc_filter_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex, enum tc_hook hook)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_DELTFILTER, 0, ENOENT, "detach from the %s of device %u",
					  hook_name(hook), ifindex);

	put_filter_header(nlh, ifindex, hook);
	nl_ignore(b, EINVAL); /* not even a clsact */
}

static int see_filter(const struct nlmsghdr *nlh, void *arg)
{
	*(bool *)arg = false;
	return MNL_CB_STOP;
}

int tc_clsact_empty(struct nl *nl, uint32_t ifindex, bool *empty, struct err *err)
{
	static const enum tc_hook hooks[] = { TC_INGRESS, TC_EGRESS };
	int rc = 0;

	*empty = true;
	for (size_t i = 0; i < 2 && rc == 0 && *empty; i++) {
		char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

		nlh->nlmsg_type = RTM_GETTFILTER;
		nlh->nlmsg_flags = NLM_F_DUMP;
		put_hook_header(nlh, ifindex, hooks[i]);
		rc = nl_dump(nl, nlh, see_filter, empty, err, "list tc filters");
	}
	return rc;
}
