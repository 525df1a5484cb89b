/* SPDX-License-Identifier: BSD-2-Clause */
/* How much memory the process holds on to. */
#ifndef WARREN_RESIDENT_H
#define WARREN_RESIDENT_H

/*
 * Gives back what is not needed again soon: free memory, and pages of program and libraries that only the past has read (what
 * is read again comes from the page cache). After a start, above all: it reads the symbols of every library, and programs that
 * the kernel has by then.
 */
void resident_trim(void);

#endif
