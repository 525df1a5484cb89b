/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Endpoints for output: the map's entry, the pod it belongs to, the state of its device. Also other nodes and their
 * pods.
 */
#ifndef WARREN_ENDPOINTS_H
#define WARREN_ENDPOINTS_H

#include <net/if.h>

#include "attachment.h"
#include "cli.h"
#include "nl.h"
#include "remotes.h"

/* --- pods, from the attachment records, by the ifindex of the host-side device --- */

struct pod {
	uint32_t ifindex;
	enum attachment_state state;
	char name[512];	     /* "namespace/name"; "" outside Kubernetes */
	char container[200]; /* id */
};

struct pods {
	struct pod *pod;
	size_t count, room;
};

/* Reads the records (again). */
int pods_load(struct pods *pods, struct err *err);
void pods_free(struct pods *pods);
const struct pod *pods_find(const struct pods *pods, uint32_t ifindex); /* NULL */

#define POD_LABEL_MAX 80
/* Its name, or the start of its container id; "-" for NULL. */
const char *pod_label(const struct pod *pod, char buf[POD_LABEL_MAX]);
json_t *pod_name_json(const struct pod *pod); /* null if it has none */
/* Field `key`: the name in JSON, the label in text. */
void out_pod(struct out *o, const char *key, const struct pod *pod);
const char *attachment_state_name(enum attachment_state state);

/* --- endpoints --- */

struct endpoint {
	uint32_t id; /* ifindex of the host-side device */
	struct wr_endpoint ep;
	char device[IFNAMSIZ]; /* "" if the device is gone */
	unsigned faults;       /* set of enum dp_fault */
};

struct endpoints {
	struct nl nl;
	struct pods pods;
	struct remotes remotes;
	struct endpoint *list; /* by id */
	size_t count, room;
};
#define _cleanup_endpoints_ __attribute__((cleanup(endpoints_free)))

/* Reads all endpoints, but not their devices: no device names, no faults. */
int endpoints_list(struct cli *cli, struct endpoints *e);
/* The same, and other nodes with their pods. */
int endpoints_list_all(struct cli *cli, struct endpoints *e);
/* Reads all endpoints and checks their devices. */
int endpoints_load(struct cli *cli, struct endpoints *e);
/* Only the endpoint with this id; -ENOENT. */
int endpoints_load_one(struct cli *cli, struct endpoints *e, uint32_t id);
void endpoints_free(struct endpoints *e);
const struct endpoint *endpoints_find(const struct endpoints *e, uint32_t id); /* NULL */
/* "default/web", or the start of the container's id; "-" if there is no such pod. */
const char *endpoint_label(const struct endpoints *e, uint32_t id, char buf[POD_LABEL_MAX]);
/* A row with id and label. */
void out_endpoint(struct out *o, const struct endpoints *e, uint32_t id);
/*
 * The label of a side of a conntrack entry with that address: "default/web", or on another node "node b pod shop/db";
 * "" for 0.
 */
const char *side_label(const struct endpoints *e, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX]);
/* Sets endpoint and pod, or node, slot and pod of an object; nothing for 0. */
void side_json(const struct endpoints *e, uint32_t side, const struct ip *ip, json_t *object);
const struct endpoint *endpoints_by_address(const struct endpoints *e, const struct ip *ip); /* NULL */
/* The endpoint's addresses: [0] IPv4, [1] IPv6; family 0: none. */
void endpoint_addresses(const struct wr_endpoint *ep, struct ip ip[2]);

/* Array of texts. */
json_t *endpoint_faults(const struct endpoint *endpoint);
/* The remedy for the first fault; NULL: no faults. */
const char *endpoint_remedy(const struct endpoint *endpoint);

#endif
