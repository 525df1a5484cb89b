/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_TEST_TSC_H
#define WARREN_TEST_TSC_H

/* kHz, or -EOPNOTSUPP on a machine that has no such counter. */
int tsc_khz(void);

#endif
