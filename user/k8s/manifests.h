/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory of manifests as a source of objects: *.yaml, *.yml and *.json of one directory, not below it; names that
 * begin with a dot are ignored. Followed by inotify. A file is read when it was renamed or linked into place, or when
 * its writer has closed it; what has just been half-written by somebody who keeps it open is not. Symbolic links are
 * followed when they are made, and when a ConfigMap volume's ..data is replaced.
 *
 * Nothing that is wrong opens anything: a file that cannot be parsed keeps the objects it gave before, one that holds
 * an invalid object loses none of them, and so do all files while the directory is away, or has come back empty. It is
 * complained about until it is mended. An object that two files hold counts once, from the first file by name; its twin
 * is complained about. An object that moves from one file to another is never removed in between.
 */
#ifndef WARREN_K8S_MANIFESTS_H
#define WARREN_K8S_MANIFESTS_H

#include "source.h"

struct manifests;
/*
 * Opens and reads the directory whole: put() for everything, then synced(). While there is a file of which nothing can be
 * read, synced() waits: it may hold any policy.
 */
int manifests_open(struct manifests **m, const char *directory, const struct object_events *events, struct err *err);
int manifests_fd(const struct manifests *m); /* to be polled for reading; then: */
/* Reads what has changed. If it fails (-ENOMEM, also of put()), the next run goes on where it stopped. */
int manifests_run(struct manifests *m, struct err *err);
/* Reads everything again (SIGHUP); unchanged objects are put again too. */
int manifests_reload(struct manifests *m, struct err *err);
void manifests_close(struct manifests *m);

#endif
