/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A number that nobody outside the programs can know. */
#ifndef WARREN_LIB_SECRET_H
#define WARREN_LIB_SECRET_H

#include <linux/types.h>

/*
 * Set by the loader, another one each time, the same in all programs of one load: for a mark by which one program knows what
 * another has sent. 0: there was no randomness, and no such mark may be believed.
 */
const volatile __u32 host_secret __weak = 0;

#endif
