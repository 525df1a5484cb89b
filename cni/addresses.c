/* SPDX-License-Identifier: BSD-2-Clause */
#include "addresses.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "delegate.h"
#include "lock.h"
#include "log.h"
#include "result.h"

/* The runtime's requests, in order of precedence: runtimeConfig, args.cni, CNI_ARGS. */
static struct ip_request requested(const struct cni *cni)
{
	struct ip_request request = cni->conf.request;
	const struct ip *ip = &cni->env.args.ip;
	struct ip *slot = ip->family == AF_INET ? &request.v4 : &request.v6;

	if (ip->family && !slot->family)
		*slot = *ip;
	return request;
}

static int add_delegated(const struct cni *cni, struct leases *leases, json_t **dns, struct err *err)
{
	json_auto_t *result = NULL;
	_cleanup_fd_ int lock = lock_share(LOCK_NETWORK, cni->conf.name, err); /* see delegate_gc() */
	int ret = lock < 0 ? lock : delegate_add(cni, &result, err);

	if (ret < 0)
		return ret;
	if (result_leases(result, leases, err) < 0) {
		err_wrap(err, "the result of %s", cni->conf.ipam_type);
		return cni_code(err, CNI_ERR_CONFIG);
	}
	*dns = json_incref(json_object_get(result, "dns"));
	return 0;
}

int addresses_add(const struct cni *cni, const char *owner, struct leases *leases, json_t **dns, struct err *err)
{
	struct ip_request request = requested(cni);

	if (cni->conf.ipam_type)
		return add_delegated(cni, leases, dns, err);
	return ipam_add(&cni->conf.ipam, cni->conf.name, owner, &request, leases, err);
}

int addresses_free(const struct cni *cni, const struct attachment *a, enum free_addresses how, struct err *err)
{
	char key[ATTACHMENT_KEY_MAX + 1];
	int ret;

	if (cni->conf.ipam_type)
		return how == FREE_DELEGATE ? delegate_run(cni, CNI_DEL, err) : 0;
	ret = attachment_key(a->container_id, a->ifname, key, err);
	if (ret == 0)
		ret = ipam_del(&cni->conf.ipam, *a->network ? a->network : cni->conf.name, key, err);
	if (ret != -EBADMSG)
		return ret;
	/* Once the file is moved away, it is rebuilt from the records, of which this one is gone by then. */
	log_warn("%s (%s)", err->msg, err->hint);
	return 0;
}

int addresses_check(const struct cni *cni, const struct attachment *a, const char *owner, struct err *err)
{
	if (cni->conf.ipam_type)
		return delegate_run(cni, CNI_CHECK, err);
	return ipam_check(&cni->conf.ipam, cni->conf.name, owner, &a->ip4, &a->ip6, err);
}
