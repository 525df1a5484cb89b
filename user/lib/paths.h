/* SPDX-License-Identifier: BSD-2-Clause */
/* Every path that Warren owns. None is global to a host: a node is a netns and a mount namespace. */
#ifndef WARREN_PATHS_H
#define WARREN_PATHS_H

#define WARREN_RUN_DIR "/run/warren"                        /* tmpfs: ends with the boot, as pods do */
#define WARREN_LOCK_FILE WARREN_RUN_DIR "/lock"             /* see lock.h */
#define WARREN_ATTACHMENT_DIR WARREN_RUN_DIR "/attachments" /* one file per (container, ifname) */
#define WARREN_IPAM_DIR WARREN_RUN_DIR "/ipam"              /* one file per network */
#define WARREN_AGENT_SOCKET WARREN_RUN_DIR "/agent.sock"    /* see agent_socket.h */
#define WARREN_SYSCTL_FILE WARREN_RUN_DIR "/sysctls"        /* values before `node init` changed them */
/* 16 bytes, root only: made by the first agent unless one is given. */
#define WARREN_CLUSTER_KEY WARREN_RUN_DIR "/cluster.key"

/* State that outlives the boot: a copy of the cluster's key, the API server's last address. */
#define WARREN_STATE_DIR "/var/lib/warren"
#define WARREN_RELEASED_FILE WARREN_STATE_DIR "/services-released" /* exists: another service proxy has the Services */

#define WARREN_BPFFS "/sys/fs/bpf"
#define WARREN_PIN_ROOT WARREN_BPFFS "/warren" /* below it: v<ABI version>/{maps,progs}/<name> */

#endif
