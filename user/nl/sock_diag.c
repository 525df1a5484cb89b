/* SPDX-License-Identifier: BSD-2-Clause */
#include "sock_diag.h"

#include <errno.h>
#include <linux/sock_diag.h>

int sock_destroy(struct nl *nl, uint8_t family, uint8_t protocol, const struct inet_diag_sockid *id, struct err *err)
{
	struct nl_batch batch = { 0 };
	struct nlmsghdr *nlh = nl_request(nl, &batch, SOCK_DESTROY, 0, ENOENT, "end a socket");
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(nlh, sizeof(*request));

	request->sdiag_family = family;
	request->sdiag_protocol = protocol;
	request->id = *id;
	return nl_batch_run(nl, &batch, err);
}
