/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Upgrade of a loaded node from an earlier ABI version, in place: pods keep their programs until this build's are
 * attached in their stead, and endpoints, conntrack, policy, nodes, services and the denylist are carried over. Used by
 * node_init(), which holds LOCK_NODE.
 *
 * The pins of each ABI version are in a directory of their own. Maps whose layout has not changed are pinned in both:
 * the old and the new programs use the same map. Others are converted. The old version counts as loaded until its
 * from_pod is no longer pinned, which is the last step. Each step can be repeated, so an upgrade that was interrupted
 * is completed by the next node_init().
 */
#ifndef WARREN_DP_UPGRADE_H
#define WARREN_DP_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "endpoint.h"

struct upgrade;

/* Whether an upgrade is due or was interrupted. Cheap. */
bool upgrade_is_due(void);

/*
 * Finds the loaded ABI version. *upgrade is NULL if it is this build's or none. Else pins the maps that both versions
 * use, and sets those of *options that the caller left open, as the node has them. -EBUSY, with nothing changed: the
 * loaded version is newer, or one that this build cannot read.
 */
int upgrade_begin(struct upgrade **upgrade, struct node_options *options, struct err *err);

/*
 * The steps after it, in order; they do nothing if `upgrade` is NULL.
 *
 * After the programs were loaded: converts everything but flows.
 */
int upgrade_convert(struct upgrade *upgrade, struct err *err);

/* Right before this build's programs are attached: copies the flows. */
int upgrade_flows(struct upgrade *upgrade, struct err *err);

/*
 * After they are attached: copies what the old programs and processes have written meanwhile. The caller attaches to
 * the endpoints of `dp` once more, and then calls upgrade_end().
 */
int upgrade_catch_up(struct upgrade *upgrade, struct dp *dp, struct err *err);

/* Removes the old version's pins. */
int upgrade_end(struct upgrade *upgrade, struct err *err);

/* Removes the pins of a new version that was not attached anywhere, after an error. The old one is not touched. */
void upgrade_undo(struct upgrade *upgrade);

/* ABI version of the programs that were loaded before; 0 without an upgrade. */
unsigned upgrade_from(const struct upgrade *upgrade);

/* Flows for which conntrack had no room. Packets in the middle of one are dropped where a policy isolates an end. */
size_t upgrade_lost_flows(const struct upgrade *upgrade);

void upgrade_freep(struct upgrade **upgrade);
#define _cleanup_upgrade_ __attribute__((cleanup(upgrade_freep)))

#endif
