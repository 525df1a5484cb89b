/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_TEST_BOMBS_H
#define WARREN_TEST_BOMBS_H

/*
 * Random policies as large as the API takes them. WARREN_BOMBS: how many clusters of them (40); WARREN_SEED: the first one's seed (drawn,
 * and printed).
 */
void large_policies_cost_little(void **state);
/* The dearest that are no larger than they may be. */
void what_fits_costs_little(void **state);
void many_large_classes_come_in_slices(void **state);
void pods_of_many_labels(void **state);
void a_selector_of_too_much_selects_all(void **state);

#endif
