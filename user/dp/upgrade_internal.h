/* SPDX-License-Identifier: BSD-2-Clause */
/* What upgrade.c and the readers of earlier layouts share. */
#ifndef WARREN_DP_UPGRADE_INTERNAL_H
#define WARREN_DP_UPGRADE_INTERNAL_H

#include "internal.h"
#include "upgrade.h"

struct upgrade {
	unsigned abi; /* the loaded version */
	const struct layout *layout;
	bool had_own; /* this build's programs were pinned before: an earlier upgrade was interrupted */
	bool complete; /* ... after everything was converted */
	struct flow_backends *backends; /* of the converted services; layout's own */
	size_t lost_flows; /* for which ct had no room */
};

/* How an earlier version's state is read. */
struct layout {
	unsigned abi;
	/* Maps with the same layout and meaning, which both versions use; ends with NULL. NULL: all but `config`. */
	const char *const *shared;
	int (*convert)(struct upgrade *upgrade, struct dp *dp, struct err *err);
	/* NULL, as the two below: their maps are shared. */
	int (*endpoints)(struct upgrade *upgrade, struct dp *dp, struct err *err);
	/* `attached`: this build's programs write flows too; theirs stay. */
	int (*flows)(struct upgrade *upgrade, bool attached, struct err *err);
	void (*free)(struct upgrade *upgrade);
};
extern const struct layout layout_abi4;

/* Path of a pin of that version: `dir` is "maps", "progs" or "links"; `name` "": the directory. */
const char *upgrade_path(char buf[PIN_PATH_MAX], unsigned abi, const char *dir, const char *name);

/* An old map: fd, after its layout was compared. */
int upgrade_map_open(const struct upgrade *upgrade, const struct dp_map *map, struct err *err);

/* Calls fn for each element of an old map. */
int upgrade_map_each(const struct upgrade *upgrade, const struct dp_map *map, dp_map_fn fn, void *arg, struct err *err);

/* The one element of an old array. */
int upgrade_value_get(const struct upgrade *upgrade, const char *name, uint32_t size, void *value, struct err *err);

#endif
