/* SPDX-License-Identifier: BSD-2-Clause */
/* The plugin's environment: CNI_* variables, and CNI_ARGS within them. */
#ifndef WARREN_CNI_ARGS_H
#define WARREN_CNI_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

enum cni_command { CNI_ADD, CNI_DEL, CNI_CHECK, CNI_GC, CNI_STATUS, CNI_VERSION, CNI_COMMANDS };

/* The keys of CNI_ARGS: "KEY=value;KEY=value". */
struct cni_args {
	char pod_namespace[256], pod_name[256], pod_uid[128]; /* K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID */
	struct ip ip;                                         /* IP: a static request; family 0: none */
	bool has_mac;
	uint8_t mac[6]; /* MAC */
};

struct cni_env {
	enum cni_command command;
	const char *container_id, *netns, *ifname, *path; /* "" where the command does not need them */
	struct cni_args args;                             /* ADD and CHECK only */
};

/* CNI_COMMAND alone: it decides which other variables are needed. */
int env_command(const char *text, enum cni_command *command, struct err *err);
const char *env_command_name(enum cni_command command);
/* Reads and checks the variables that the command needs. Strings are borrowed from the environment. */
int env_read(enum cni_command command, struct cni_env *env, struct err *err);

int args_parse(const char *text, struct cni_args *args, struct err *err);

/* The specification's rules for names: container ids and network names; interface names. */
bool name_valid(const char *name);
bool ifname_valid(const char *name);

#endif
