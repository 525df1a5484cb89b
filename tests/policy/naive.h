/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evaluates NetworkPolicy v1 as specified, object by object, slowly. Shares only the objects with the compiler: it has
 * its own matching of selectors and prefixes.
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

/* Whether the pod has labels, so that selectors can match it. */
bool naive_is_peer(const struct cluster_pod *pod);

#endif
