/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The record of one attachment (container, ifname): what ADD has done or is about to do, so that DEL, CHECK, GC and the
 * next ADD can complete or undo it after a crash at any point. One JSON file each below WARREN_ATTACHMENT_DIR, in the
 * directory of its state, written before any kernel object is made. Writers hold LOCK_ATTACHMENT of its key; readers
 * need no lock.
 */
#ifndef WARREN_ATTACHMENT_H
#define WARREN_ATTACHMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

enum attachment_state {
	ATTACHMENT_ADDING,   /* ADD has begun: after a crash everything that exists must be undone */
	ATTACHMENT_READY,    /* ADD has succeeded */
	ATTACHMENT_DELETING, /* DEL has begun or returned; the link may still exist */
};

#define ATTACHMENT_KEY_MAX 220 /* bytes of a key: a file name, with room for a suffix */

struct attachment {
	enum attachment_state state;
	char container_id[200];
	char ifname[16];
	char network[200];
	char host_ifname[16]; /* unique per ADD, so never that of a link that is still being deleted */
	uint32_t host_ifindex; /* 0 until the link exists */
	char netns[512];       /* path given by the runtime */
	uint64_t netns_dev;    /* its device and inode at ADD */
	uint64_t netns_inode;
	char boot_id[40];      /* of /proc/sys/kernel/random/boot_id at ADD */
	struct ip ip4, ip6;    /* family 0: none */
	uint8_t mac[6];
	uint32_t mtu;	       /* of the network configuration; 0: it follows the node's */
	char pod_namespace[256]; /* K8S_POD_*; empty outside Kubernetes */
	char pod_name[256];
	char pod_uid[128];
	bool host_ports;   /* ADD was by a release and configuration whose hostPorts are Warren's, not another plugin's */
	bool agent;        /* the agent enforces its policy */
	char labels[4096]; /* args.cni.labels of the network config as a JSON object of strings, or "" */
};

/* The directory with the records of a state, for inotify. It may not exist yet. */
const char *attachment_directory(enum attachment_state state);

/* "<container>@<ifname>" into key; neither part may contain '@' or '/'. -ENAMETOOLONG if it does not fit. */
int attachment_key(const char *container_id, const char *ifname, char key[ATTACHMENT_KEY_MAX + 1], struct err *err);

/* Writes the record in the state it has; only attachment_set_state() changes the state of one that was saved. */
int attachment_save(const struct attachment *a, struct err *err);
/* Moves the record to a later state. Needs no space on disk. */
int attachment_set_state(struct attachment *a, enum attachment_state state, struct err *err);
/*
 * -ENOENT (err set) if there is none; -EBADMSG if the file is damaged (only its name is valid then). Of a record of an
 * earlier boot only the boot id is read; all else is empty, as its addresses, device and index are void.
 */
int attachment_load(const char *container_id, const char *ifname, struct attachment *a, struct err *err);
int attachment_remove(const char *container_id, const char *ifname, struct err *err); /* success if absent */

/*
 * Calls fn for every attachment, in no order; stops at its first non-zero return and returns it. A damaged record is
 * passed with only container_id and ifname set and damaged = true.
 */
int attachment_each(int (*fn)(const struct attachment *a, bool damaged, void *arg), void *arg, struct err *err);

/* The same for those of one state. */
int attachment_each_in(enum attachment_state state, int (*fn)(const struct attachment *a, bool damaged, void *arg),
		       void *arg, struct err *err);

/* True if the attachment is of an earlier boot, or its netns path or inode is gone: its pod cannot be alive then. */
bool attachment_dead(const struct attachment *a);

/* This boot's id into buf (36 characters and NUL). */
int boot_id(char buf[40], struct err *err);
/*
 * Whether the first member of a state file is the "bootID" (into id) of another boot. A directory on disk outlives the
 * boot; the rest of such a file is void, and need not be valid.
 */
bool boot_id_is_past(const char *text, char id[40]);

#endif
