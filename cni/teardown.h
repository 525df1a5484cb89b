/* SPDX-License-Identifier: BSD-2-Clause */
/* Teardown of an attachment, complete or not: for DEL, GC, and an ADD that finds an unfinished ADD or DEL. */
#ifndef WARREN_CNI_TEARDOWN_H
#define WARREN_CNI_TEARDOWN_H

#include "addresses.h"
#include "attachment.h"
#include "cni.h"
#include "nl.h"

/*
 * Deletes endpoint, routes and addresses: afterwards none of its packets passes, and its addresses can be allocated
 * again. Deletes the link too if the endpoint cannot be deleted. Continues after errors and returns the first.
 */
int teardown(const struct cni *cni, struct nl *host, const struct attachment *a, enum free_addresses how,
	     struct err *err);

/* Deletes the link (16 to 24 ms) and then the record. */
int teardown_link(struct nl *host, const struct attachment *a, struct err *err);

/*
 * teardown_link() in a new process (the reaper), which the caller does not wait for. It inherits `lock`, so that the
 * next command for this attachment waits for its end.
 */
int teardown_link_later(const struct attachment *a, int lock, struct err *err);

#endif
