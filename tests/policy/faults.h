/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_TEST_FAULTS_H
#define WARREN_TEST_FAULTS_H

void without_memory_nothing_is_lost(void **state);

#endif
