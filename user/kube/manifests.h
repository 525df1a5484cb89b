/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory of manifests as a source of objects: *.yaml, *.yml and *.json in one directory, without subdirectories;
 * names that begin with a dot are ignored. Watched by inotify. A file is read when it is renamed or linked into place,
 * or when its writer closes it, so that it is never read half-written. A symbolic link is read when it is created, and
 * when a ConfigMap volume's ..data is replaced.
 *
 * An error never removes a policy: a file that cannot be parsed keeps its previous objects, a file with an invalid
 * object keeps all of them, and so do all files while the directory is missing or has come back empty. The problem is
 * reported until it is resolved. An object in two files is used from the first file by name, and reported for the other
 * one. An object that moves from one file to another is never removed in between.
 */
#ifndef WARREN_KUBE_MANIFESTS_H
#define WARREN_KUBE_MANIFESTS_H

#include "source.h"

struct manifests;
/*
 * Opens and reads the directory: put() for every object, then synced(). synced() waits while there is a file of which
 * nothing could be read: it may hold any policy.
 */
int manifests_open(struct manifests **m, const char *directory, const struct object_events *events, struct err *err);
int manifests_fd(const struct manifests *m); /* when it is readable, call: */
/* Reads what has changed. After a failure (-ENOMEM, also of put()) the next run continues where it stopped. */
int manifests_run(struct manifests *m, struct err *err);
/* Reads everything again (SIGHUP); unchanged objects are put again too. */
int manifests_reload(struct manifests *m, struct err *err);
void manifests_close(struct manifests *m);

#endif
