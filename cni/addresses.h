/* SPDX-License-Identifier: BSD-2-Clause */
/* A pod's addresses: from the built-in address management, or from the plugin named in the configuration. */
#ifndef WARREN_CNI_ADDRESSES_H
#define WARREN_CNI_ADDRESSES_H

#include "attachment.h"
#include "cni.h"
#include "ipam.h"

/* How an attachment's addresses are freed. */
enum free_addresses {
	FREE_OWN,      /* only those of the built-in address management */
	FREE_DELEGATE, /* also by the delegate's DEL: our environment belongs to this attachment */
};

/* `dns`: a new value with the delegate's DNS settings, or NULL. */
int addresses_add(const struct cni *cni, const char *owner, struct leases *leases, json_t **dns, struct err *err);
/*
 * An absent address is no error. Nor is a damaged address file: it is rebuilt from the records, of which this one is
 * gone by then.
 */
int addresses_free(const struct cni *cni, const struct attachment *a, enum free_addresses how, struct err *err);
int addresses_check(const struct cni *cni, const struct attachment *a, const char *owner, struct err *err);

#endif
