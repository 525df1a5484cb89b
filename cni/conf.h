/* SPDX-License-Identifier: BSD-2-Clause */
/* The network configuration on standard input. */
#ifndef WARREN_CNI_CONF_H
#define WARREN_CNI_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "ipam.h"
#include "json.h"
#include "log.h"

/* Supported versions of the specification, in order. */
enum cni_version { CNI_0_3_0, CNI_0_3_1, CNI_0_4_0, CNI_1_0_0, CNI_1_1_0, CNI_VERSIONS };

const char *cni_version_name(enum cni_version version);

/*
 * Seconds. Runtimes give up after about two minutes; an ADD that waits for its policy must end before, with a reason.
 */
#define POLICY_WAIT_MAX 60

struct conf {
	json_t *json; /* owns every string and JSON value below but `labels` */
	enum cni_version version;
	const char *name;
	uint32_t mtu;          /* 0: what the agent has set, else that of the device of the default route */
	bool agent;            /* policy: quarantine until the agent has enforced the pod's policy */
	unsigned policy_wait;  /* policyTimeout: seconds that ADD waits for it; 0: none */
	bool policy_needed;    /* policyFailure: ADD fails if that wait times out */
	char *labels;          /* args.cni.labels as the text of a JSON object; NULL: none */
	bool masquerade;       /* ipMasq */
	const char *log_file;  /* NULL: stderr */
	enum log_level log_level;
	const char *ipam_type; /* plugin to delegate to; NULL: built in */
	struct ipam_conf ipam;
	struct ip_request request; /* runtimeConfig.ips, else args.cni.ips */
	json_t *port_mappings; /* runtimeConfig.portMappings, which pod_ports.h decodes; NULL: none */
	bool has_host_ports;   /* the plugin has the capability `portMappings`: hostPorts are not another plugin's */
	bool has_mac;
	uint8_t mac[6];      /* runtimeConfig.mac, else args.cni.mac */
	json_t *dns;         /* or NULL */
	json_t *prev_result; /* or NULL */
	json_t *valid;       /* cni.dev/valid-attachments, or NULL */
};

/*
 * Decodes and checks. On error err->code shows which of the two failed. conf->version is set once the input has a
 * supported version (CNI_1_1_0 before), so that the error is reported in that version.
 */
int conf_parse(const char *text, size_t size, struct conf *conf, struct err *err);
void conf_free(struct conf *conf);

#endif
