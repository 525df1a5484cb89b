/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NetworkPolicy v1 as its specification says it, object by object, with no thought for speed. Shares nothing with the
 * compiler but the objects: selectors and prefixes are matched by code of its own.
 */
#ifndef WARREN_TEST_NAIVE_H
#define WARREN_TEST_NAIVE_H

#include "cluster.h"

struct naive_peer {
	const struct cluster_pod *pod; /* NULL: not a pod */
	bool own_host;		       /* the own node's host */
	struct ip ip;
};

/* Whether `pod`, which has an endpoint here, may talk in this direction with the peer. */
bool naive_allows(const struct cluster *c, const struct cluster_pod *pod, int direction, const struct naive_peer *peer,
		  uint8_t protocol, uint16_t port);

/* Whether anything is known of the pod on this node: it is then somebody to selectors. */
bool naive_is_somebody(const struct cluster_pod *pod);

#endif
