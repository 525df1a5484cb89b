/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking an attachment down, whatever exists of it: for DEL, GC, and an ADD that meets unfinished work. */
#ifndef WARREN_CNI_TEARDOWN_H
#define WARREN_CNI_TEARDOWN_H

#include "addresses.h"
#include "attachment.h"
#include "cni.h"
#include "nl.h"

/*
 * All but the link, unless that is what it takes: from now on none of its packets passes, and its addresses can be
 * given to another. Goes on past errors and reports the first.
 */
int teardown(const struct cni *cni, struct nl *host, const struct attachment *a, enum free_addresses how,
	     struct err *err);

/* The rest of it: the link (16 to 24 ms), and the record once nothing else is left. */
int teardown_link(struct nl *host, const struct attachment *a, struct err *err);

/*
 * teardown_link() in a process of its own, which the caller does not wait for. It inherits `lock`, so that whoever
 * wants this attachment next waits for its end.
 */
int teardown_link_later(const struct attachment *a, int lock, struct err *err);

#endif
