/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a pod's addresses come from: the built-in address management, or the plugin that the configuration names. */
#ifndef WARREN_CNI_ADDRESSES_H
#define WARREN_CNI_ADDRESSES_H

#include "attachment.h"
#include "cni.h"
#include "ipam.h"

/* How an attachment's addresses are freed. */
enum free_addresses {
	FREE_OWN,      /* those of the built-in address management */
	FREE_DELEGATE, /* or by DEL of the delegate: our environment is that of this attachment */
};

/* `dns`: what the delegate says of it, a new value, or NULL. */
int addresses_add(const struct cni *cni, const char *owner, struct leases *leases, json_t **dns, struct err *err);
/*
 * No address to free is no error, nor is a damaged address file, which cannot hold what we free once it is made anew.
 */
int addresses_free(const struct cni *cni, const struct attachment *a, enum free_addresses how, struct err *err);
int addresses_check(const struct cni *cni, const struct attachment *a, const char *owner, struct err *err);

#endif
