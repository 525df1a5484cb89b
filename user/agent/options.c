/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "array.h"
#include "config.h"
#include "maglev.h"
#include "paths.h"
#include "str.h"
#include "object_names.h"

/* A value of an option, and the number to store for it. */
struct choice {
	const char *name; /* NULL ends a list */
	int number;
};

static const struct choice routing_modes[] = {
	{ "tunnel", ROUTING_TUNNEL }, { "direct", ROUTING_DIRECT }, { "auto", ROUTING_AUTO }, { 0 }
};
static const struct choice families[] = { { "auto", 0 }, { "ipv4", AF_INET }, { "ipv6", AF_INET6 }, { 0 } };
static const struct choice source_ports[] = { { "own", 0 }, { "any", 1 }, { 0 } };
static const struct choice xdp_modes[] = {
	{ "auto", DP_XDP_AUTO }, { "native", DP_XDP_NATIVE }, { "generic", DP_XDP_GENERIC }, { "off", DP_XDP_OFF }, { 0 }
};
static const struct choice tunnel_key_modes[] = {
	{ "off", TUNNEL_KEY_OFF }, { "accept", TUNNEL_KEY_ACCEPT }, { "require", TUNNEL_KEY_REQUIRE }, { 0 }
};
static const struct choice table_sizes[] = {
	{ "off", 0 }, { "1021", 1021 }, { "4093", 4093 }, { "16381", 16381 }, { "65521", 65521 }, { 0 }
};
static const struct choice host_ports[] = { { "native", 0 }, { "portmap", 1 }, { 0 } };
static const struct choice switches[] = { { "on", 1 }, { "off", 0 }, { 0 } };
static const struct choice levels[] = {
	{ "error", LOG_ERROR }, { "warn", LOG_WARN }, { "info", LOG_INFO }, { "debug", LOG_DEBUG }, { 0 }
};

static const struct choice commands[] = {
	{ "prepare", COMMAND_PREPARE }, { "install", COMMAND_INSTALL }, { "uninstall", COMMAND_UNINSTALL }, { 0 }
};

/* Sets of commands that accept an option; 0 in the table: the agent itself. */
#define FOR_AGENT (1u << COMMAND_AGENT)
#define FOR_PREPARE (1u << COMMAND_PREPARE)
#define FOR_INSTALL (1u << COMMAND_INSTALL)
#define FOR_UNINSTALL (1u << COMMAND_UNINSTALL)
#define FOR_ALL ~0u

const char *routing_mode_name(enum routing_mode mode)
{
	const struct choice *w = routing_modes;

	while (w->number != (int)mode)
		w++;
	return w->name;
}

const char *tunnel_key_mode_name(enum tunnel_key_mode mode)
{
	return tunnel_key_modes[mode].name;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

enum type { FLAG, TEXT, COUNT, CHOICE };

struct setting {
	const char *name;  /* without the dashes */
	const char *value; /* its name in help; NULL for a flag */
	enum type type;
	size_t field; /* offset in struct options */
	const char *summary; /* lines */
	const struct choice *choices;
	size_t min, max;		 /* of a count: or auto, which is 0; zeros: from 1 */
	bool (*valid)(const char *text); /* of a text; NULL: any is valid */
	const char *invalid;		 /* the message otherwise */
	unsigned commands;
	bool api;			 /* needs an API server */
	bool strict;			 /* its variable must be defined: the default is less secure than other values */
};

/* The offset; does not compile unless the member has the size of the type that set() writes. */
#define FIELD(member, type)                                                                                            \
	(offsetof(struct options, member) +                                                                            \
	 0 * sizeof(char[sizeof(((struct options *)0)->member) == sizeof(type) ? 1 : -1]))

#define API_SERVER_RULE "must be https://HOST[:PORT]"

static bool is_api_server(const char *text)
{
	return strncmp(text, "https://", 8) == 0 && text[8];
}

#define SECRET_RULE "must be NAMESPACE/NAME"

static bool is_secret(const char *text)
{
	const char *slash = strchr(text, '/');
	char namespace[64];

	if (!slash || (size_t)(slash - text) >= sizeof(namespace))
		return false;
	memcpy(namespace, text, (size_t)(slash - text));
	namespace[slash - text] = '\0';
	return name_is_dns_label(namespace) && name_is_dns_subdomain(slash + 1);
}

#define PATH_RULE "must be a path that begins with '/', or off"

static bool is_path(const char *text)
{
	return *text == '/' || strcmp(text, "off") == 0;
}

static const struct setting settings[] = {
	{ "manifests", "DIR", TEXT, FIELD(manifests, char *),
	  "a directory of Kubernetes manifests (YAML, JSON), watched for changes" },
	{ "kubernetes", NULL, FLAG, FIELD(kubernetes, bool),
	  "or the API server of the cluster in which this agent runs as a pod" },
	{ "kubeconfig", "FILE", TEXT, FIELD(kubeconfig, char *), "or the API server of this file's current context" },
	{ "node-name", "NAME", TEXT, FIELD(cluster.node_name, char *),
	  "name of this node's Node object\n(default: $NODE_NAME, else the host's name)",
	  .valid = name_is_dns_subdomain, .invalid = NAME_DNS_SUBDOMAIN },
	{ "api-server", "URL", TEXT, FIELD(api_server, char *),
	  "URL of the API server (default: the kubelet's, else the last one used, else the one\n"
	  "that pods use)", .valid = is_api_server, .invalid = API_SERVER_RULE, .api = true },
	{ "key-secret", "SECRET", TEXT, FIELD(key_secret, char *),
	  "NAMESPACE/NAME of the Secret with the cluster's key, which the first agent generates\n"
	  "(default: " KEY_SECRET " of the agent's own namespace)",
	  .valid = is_secret, .invalid = SECRET_RULE, .api = true },
	{ "conflist", "PATH", TEXT, FIELD(conflist, char *),
	  "where to write the container runtime's network configuration, or off;\n"
	  "uninstall: which to remove\n(default: " CONFLIST_PATH ")",
	  .valid = is_path, .invalid = PATH_RULE, .api = true, .commands = FOR_AGENT | FOR_UNINSTALL },
	{ "host-ports", "MODE", CHOICE, FIELD(portmap, int),
	  "hostPorts in that configuration: native (default), by the programs; or portmap, by the\n"
	  "chained plugin", host_ports },
	{ "startup-taint", "KEY", TEXT, FIELD(startup_taint, char *),
	  "the taint to remove from this node when it is ready for pods, or off\n"
	  "(default: " STARTUP_TAINT ")", .api = true },
	{ "routing-mode", "MODE", CHOICE, FIELD(cluster.mode, int),
	  "to pods of other nodes: tunnel (default); direct: every node must be on a link of this\n"
	  "one; auto: direct to nodes on a link, tunnel to others", routing_modes },
	{ "underlay", "FAMILY", CHOICE, FIELD(cluster.underlay, int),
	  "addresses of tunnels: ipv4, ipv6, or auto (default): ipv4 where both nodes have it", families },
	{ "tunnel-source-ports", "WHICH", CHOICE, FIELD(cluster.any_sport, int),
	  "source ports of accepted tunnel packets: own (default): 49152 to 65535, which Warren\n"
	  "uses; any: with tunnel endpoints of other programs", source_ports },
	{ "xdp", "MODE", CHOICE, FIELD(cluster.xdp, int),
	  "on the devices that lead to other nodes: native; generic; off; auto (default): native\n"
	  "on physical devices and TAPs whose driver supports it, others unchanged", xdp_modes },
	{ "cluster-key", "FILE", TEXT, FIELD(key_file, char *),
	  "16 bytes or 32 hex digits, the same on every node of the cluster\n"
	  "(default: " WARREN_CLUSTER_KEY ", generated)" },
	{ "tunnel-key", "MODE", CHOICE, FIELD(cluster.tunnel_key, int),
	  "authentication of tunnel packets by a tag: off (default); accept: sent packets have it,\n"
	  "received ones without it are counted; require: these are dropped",
	  tunnel_key_modes, .strict = true },
	{ "tunnel-keys", "FILE", TEXT, FIELD(tunnel_keys, char *),
	  "the key for sending, and a second one to accept; read again when the file changes\n"
	  "(default, or off: one derived from the cluster's key)" },
	{ "health", "ADDRESS", TEXT, FIELD(health, char *),
	  "where to serve /healthz and /readyz: IPV4:PORT, [IPV6]:PORT, unix:PATH or off\n"
	  "(default: " HEALTH_ADDRESS ")" },
	{ "metrics", "ADDRESS", TEXT, FIELD(metrics, char *),
	  "where to serve metrics at /metrics: IPV4:PORT, [IPV6]:PORT, unix:PATH or off\n"
	  "(default: " METRICS_ADDRESS ")" },
	{ "service-healthz", "ADDRESS", TEXT, FIELD(service_healthz, char *),
	  "where to serve /healthz and /livez as kube-proxy does at port 10256, for load balancers:\n"
	  "IPV4:PORT, [IPV6]:PORT, unix:PATH or off (default)" },
	{ "max-policy-entries", "N", COUNT, FIELD(max_policy_entries, size_t),
	  "maximum number of entries in the policy map" },
	{ "ct-entries", "N", COUNT, FIELD(ct_entries, size_t),
	  "maximum number of established flows of each family, or auto (default): by the machine's\n"
	  "memory, or as loaded; to change a loaded size, run `warren node down` first",
	  .min = NODE_CT_ENTRIES_MIN, .max = NODE_CT_ENTRIES_MAX },
	{ "cgroup", "DIR", TEXT, FIELD(cgroup, char *),
	  "services for the host's own processes: the root of their cgroups (v2), or off\n"
	  "(default: as attached, else /sys/fs/cgroup)" },
	{ "node-ports", "MODE", CHOICE, FIELD(services.node_ports, int),
	  "Services for clients outside the cluster, and at node ports and load balancers'\n"
	  "addresses for pods: on (default), or off, where kube-proxy does it", switches },
	{ "nodeport-addresses", "LIST", TEXT, FIELD(node_port_addresses, char *),
	  "where node ports are: primary (default): this node's addresses of type InternalIP; or\n"
	  "CIDRs, with commas between: its devices' addresses in them" },
	{ "external-ips", "MODE", CHOICE, FIELD(services.external_ips, int),
	  "Services at their externalIPs: on, or off (default), since who may write a Service can\n"
	  "then take over other hosts' addresses", switches },
	{ "maglev-table-size", "N", CHOICE, FIELD(services.table_size, int),
	  "for clients outside the cluster: least size of the tables by which all nodes select the\n"
	  "same backend for a flow: 1021 (default), 4093, 16381, 65521; off: at random", table_sizes },
	{ "host", "DIR", TEXT, FIELD(host, char *),
	  "prepare, install, uninstall: the host's root directory; to find the API server of its\n"
	  "kubelet, and the directories of its container runtime",
	  .commands = FOR_PREPARE | FOR_INSTALL | FOR_UNINSTALL },
	{ "cni-bin-dir", "DIR", TEXT, FIELD(cni_bin_dir, char *),
	  "install, uninstall: where the runtime looks for plugins (default: as containerd's or\n"
	  "CRI-O's configuration has it, else " CNI_BIN_DIR ")", .commands = FOR_INSTALL | FOR_UNINSTALL },
	{ "from", "FILE", TEXT, FIELD(from, char *),
	  "install: the plugin to install (default: warren-cni beside this program)", .commands = FOR_INSTALL },
	{ "wait", NULL, FLAG, FIELD(wait, bool), "uninstall: wait until the last pod is gone", .commands = FOR_UNINSTALL },
	{ "log-file", "FILE", TEXT, FIELD(log_file, char *), "(default: standard error)", .commands = FOR_ALL },
	{ "log-level", "LEVEL", CHOICE, FIELD(log_level, int), "error, warn, info or debug (default: info)", levels,
	  .commands = FOR_ALL },
	{ "help", NULL, FLAG, FIELD(help, bool), "print this", .commands = FOR_ALL },
	{ "version", NULL, FLAG, FIELD(version, bool), "print the release", .commands = FOR_ALL },
};

void options_help(FILE *f)
{
	fputs("usage: warren-agent --manifests DIR | --kubernetes | --kubeconfig FILE [OPTION...]\n"
	      "       warren-agent prepare [OPTION...]      mount bpffs, turn forwarding on\n"
	      "       warren-agent install [OPTION...]      install the CNI plugin\n"
	      "       warren-agent uninstall [OPTION...]    restore the node's previous state\n\n"
	      "The node's agent: watches Kubernetes objects, computes policy, and writes it into the maps.\n\n",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const struct setting *s = &settings[i];
		int width = fprintf(f, "  --%s %s", s->name, s->value ?: "");

		for (const char *line = s->summary; *line;
		     line += strcspn(line, "\n"), line += *line == '\n', width = 0)
			fprintf(f, "%*s%.*s\n", 27 - width, "", (int)strcspn(line, "\n"), line);
	}
	fputs("\nSIGHUP reads everything again; SIGTERM ends the agent and leaves the data plane as it is.\n", f);
}

/* --- parsing ------------------------------------------------------------------------------------------------------ */

static int set_count(const struct setting *s, const char *text, size_t *field, struct err *err)
{
	uint64_t number = 0;

	if (s->max && strcmp(text, "auto") == 0)
		*field = 0;
	else if (number_parse(text, s->max ?: SIZE_MAX, &number) == 0 && number >= (s->min ?: 1))
		*field = number;
	else if (s->max)
		return err_set(err, EINVAL, "--%s %s: not auto, nor a number from %zu to %zu", s->name, text, s->min, s->max);
	else
		return err_set(err, EINVAL, "--%s %s: not a number from 1", s->name, text);
	return 0;
}

static int set_choice(const struct setting *s, const char *text, int *field, struct err *err)
{
	char names[80] = "";

	for (const struct choice *w = s->choices; w->name; w++) {
		size_t used = strlen(names);

		if (strcmp(text, w->name) == 0) {
			*field = w->number;
			return 0;
		}
		snprintf(names + used, sizeof(names) - used, "%s%s",
			 w == s->choices ? ""
			 : w[1].name   ? ", "
				       : " or ",
			 w->name);
	}
	return err_set(err, EINVAL, "--%s %s: not %s", s->name, text, names);
}

/*
 * The kubelet leaves $(NAME) as it is if the container has no such variable: a ConfigMap of an earlier release lacks what
 * a later one's DaemonSet refers to.
 */
static bool is_undefined_variable(const char *text)
{
	const size_t length = strlen(text);

	return length > 3 && strncmp(text, "$(", 2) == 0 && strcspn(text, ")") == length - 1;
}

/* The option keeps its default. */
static int set_undefined(struct options *options, const struct setting *s, const char *text, struct err *err)
{
	if (s->strict)
		return err_set(err, EINVAL, "--%s %s: the variable is not defined; add it to the DaemonSet's ConfigMap",
			       s->name, text);
	if (options->undefined_count < ARRAY_SIZE(options->undefined))
		options->undefined[options->undefined_count++] = text;
	return 0;
}

/* `text` NULL: a flag. */
static int set(struct options *options, const struct setting *s, const char *text, struct err *err)
{
	void *field = (char *)options + s->field;

	if (s->type != FLAG && is_undefined_variable(text))
		return set_undefined(options, s, text, err);
	switch (s->type) {
	case FLAG:
		*(bool *)field = true;
		return 0;
	case TEXT:
		if (s->valid && !s->valid(text))
			return err_set(err, EINVAL, "--%s %s: %s", s->name, text, s->invalid);
		*(const char **)field = text;
		return 0;
	case COUNT:
		return set_count(s, text, field, err);
	case CHOICE:
		return set_choice(s, text, field, err);
	}
	return -EINVAL;
}

/* NODE_NAME, which the manifest sets for a pod; else, as the kubelet does, the host's name in lower case. */
static void default_node_name(struct options *options)
{
	const char *env = getenv("NODE_NAME");

	options->cluster.node_name = options->host_name;
	if (env && *env) {
		options->cluster.node_name = env;
		return;
	}
	if (gethostname(options->host_name, sizeof(options->host_name) - 1) < 0)
		options->host_name[0] = '\0';
	for (char *p = options->host_name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

/* Unset becomes `otherwise`, and "off" becomes NULL. */
static void set_default(const char **text, const char *otherwise)
{
	if (!*text)
		*text = otherwise;
	else if (strcmp(*text, "off") == 0)
		*text = NULL;
}

static int check_sources(struct options *options, struct err *err)
{
	if (!!options->manifests + options->kubernetes + !!options->kubeconfig == 1)
		return 0;
	return err_set(err, EINVAL, "%s: --manifests DIR, --kubernetes or --kubeconfig FILE",
		       options->manifests || options_in_kubernetes(options) ? "more than one source of objects"
									    : "no source of objects");
}

/* Rejects options that need an API server without one; with one, sets their defaults. */
static int check_api(struct options *options, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings) && options->manifests; i++) {
		const struct setting *s = &settings[i];

		if (s->api && *(char *const *)((char *)options + s->field))
			return err_set(err, EINVAL, "--%s: only with --kubernetes or --kubeconfig", s->name);
	}
	if (options->manifests)
		return 0;
	set_default(&options->conflist, CONFLIST_PATH);
	set_default(&options->startup_taint, STARTUP_TAINT);
	return 0;
}

/* If each node generated its own key, the tags of other nodes would not match. */
static int check_tunnel_key(struct options *options, struct err *err)
{
	set_default(&options->tunnel_keys, NULL);
	if (options->cluster.tunnel_key != TUNNEL_KEY_OFF && options->manifests && !options->key_file)
		return err_set(err, EINVAL, "--tunnel-key: needs --cluster-key FILE, the same on every node");
	return 0;
}

/* CIDRs with commas between; "primary": none. */
static int parse_node_port_addresses(struct options *options, struct err *err)
{
	const char *text = options->node_port_addresses;
	char cidr[PREFIX_STRLEN + 1];
	size_t length;

	for (bool more = text && strcmp(text, "primary") != 0; more; text += length + 1) {
		struct prefix *prefix = &options->node_port_cidrs[options->node_port_cidr_count];

		length = strcspn(text, ",");
		more = text[length];
		snprintf(cidr, sizeof(cidr), "%.*s", (int)length, text);
		if (options->node_port_cidr_count == NODE_PORT_CIDRS)
			return err_set(err, EINVAL, "--nodeport-addresses: more than %d CIDRs", NODE_PORT_CIDRS);
		if (length >= sizeof(cidr) || prefix_parse(cidr, prefix) < 0)
			return err_set(err, EINVAL, "--nodeport-addresses %s: not primary, nor CIDRs with commas between",
				       options->node_port_addresses);
		prefix->ip = prefix_first(prefix);
		options->node_port_cidr_count++;
	}
	return 0;
}

static int check_services(struct options *options, struct err *err)
{
	set_default(&options->service_healthz, NULL);
	if (options->services.external_ips && !options->services.node_ports)
		return err_set(err, EINVAL, "--external-ips on: needs --node-ports on");
	return parse_node_port_addresses(options, err);
}

/* Checks combinations of options. */
static int check(struct options *options, struct err *err)
{
	const char *node = options->cluster.node_name;
	int ret = check_sources(options, err);

	if (ret == 0)
		ret = check_api(options, err);
	if (ret == 0)
		ret = check_tunnel_key(options, err);
	if (ret == 0)
		ret = check_services(options, err);
	if (ret == 0 && node != options->host_name && !name_is_dns_subdomain(node))
		return err_set(err, EINVAL, "NODE_NAME=%s: %s", node, NAME_DNS_SUBDOMAIN);
	set_default(&options->health, HEALTH_ADDRESS);
	set_default(&options->metrics, METRICS_ADDRESS);
	return ret;
}

/* The first argument is a command unless it begins with '-'. */
static int parse_command(const char *word, struct options *options, struct err *err)
{
	if (!word || *word == '-')
		return 0;
	for (const struct choice *w = commands; w->name; w++) {
		if (strcmp(word, w->name) == 0) {
			options->command = (enum command)w->number;
			return 1;
		}
	}
	return err_set(err, EINVAL, "%s: no such command", word);
}

/* The options of the command; a NULL `name` ends them. */
static void command_options(enum command command, struct option list[ARRAY_SIZE(settings) + 1])
{
	for (int i = 0; i < (int)ARRAY_SIZE(settings); i++) {
		const struct setting *s = &settings[i];

		if ((s->commands ?: FOR_AGENT) & 1u << command)
			*list++ = (struct option){ s->name, s->value ? required_argument : no_argument, NULL, i };
	}
	*list = (struct option){ 0 };
}

static int parse_options(int argc, char **argv, struct options *options, struct err *err)
{
	struct option list[ARRAY_SIZE(settings) + 1];
	int i;

	command_options(options->command, list);
	optind = 0; /* resets getopt: tests call this more than once */
	opterr = 0;
	while ((i = getopt_long(argc, argv, ":", list, NULL)) != -1) {
		int ret;

		if (i == '?' || i == ':')
			return err_set(err, EINVAL, "%s: %s", argv[optind - 1],
				       i == '?' ? "no such option" : "needs a value");
		ret = set(options, &settings[i], optarg, err);
		if (ret < 0)
			return ret;
	}
	if (optind < argc && !options->help && !options->version)
		return err_set(err, EINVAL, "%s: not an option", argv[optind]);
	return 0;
}

int options_parse(int argc, char **argv, struct options *options, struct err *err)
{
	int ret;

	*options = (struct options){ .log_level = LOG_INFO, .cluster.xdp = DP_XDP_AUTO, .services.node_ports = 1,
				      .services.table_size = MAGLEV_SIZE_DEFAULT };
	default_node_name(options);
	ret = parse_command(argv[1], options, err);
	if (ret >= 0)
		ret = parse_options(argc - ret, argv + ret, options, err);
	if (ret < 0 || options->help || options->version)
		return ret;
	if (options->command == COMMAND_AGENT)
		return check(options, err);
	set_default(&options->conflist, CONFLIST_PATH);
	return 0;
}
