/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_TEST_BOMBS_H
#define WARREN_TEST_BOMBS_H

/*
 * Random policies as large as the API accepts. WARREN_BOMBS: number of clusters (40); WARREN_SEED: seed of the first
 * one (random by default, and printed).
 */
void large_policies_cost_little(void **state);
/* The most expensive policies within the bounds. */
void what_fits_costs_little(void **state);
void many_large_classes_come_in_slices(void **state);
void pods_of_many_labels(void **state);
void a_selector_of_too_much_selects_all(void **state);

#endif
