/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "paths.h"
#include "syntax.h"

enum { OPT_MANIFESTS = 1, OPT_KEY, OPT_METRICS, OPT_LOG_FILE, OPT_LOG_LEVEL, OPT_MAX_POLICY,
       OPT_NODE_NAME, OPT_ROUTING, OPT_UNDERLAY, OPT_XDP, OPT_HELP, OPT_VERSION };

static const struct option table[] = {
	{ "manifests", required_argument, NULL, OPT_MANIFESTS },
	{ "cluster-key", required_argument, NULL, OPT_KEY },
	{ "metrics", required_argument, NULL, OPT_METRICS },
	{ "log-file", required_argument, NULL, OPT_LOG_FILE },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "max-policy-entries", required_argument, NULL, OPT_MAX_POLICY },
	{ "node-name", required_argument, NULL, OPT_NODE_NAME },
	{ "routing-mode", required_argument, NULL, OPT_ROUTING },
	{ "underlay", required_argument, NULL, OPT_UNDERLAY },
	{ "xdp", required_argument, NULL, OPT_XDP },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

void options_help(FILE *f)
{
	fputs("usage: warren-agent --manifests DIR [OPTION...]\n\n"
	      "The node's agent: follows Kubernetes objects, computes policy, and keeps the maps at it.\n\n"
	      "  --manifests DIR          a directory of Kubernetes manifests (YAML, JSON), followed as it changes\n"
	      "  --node-name NAME         which Node object is this node's (default: the host's name)\n"
	      "  --routing-mode MODE      to pods of other nodes: tunnel (default); direct, which every node must be on a link\n"
	      "                           for; auto: direct to those that are\n"
	      "  --underlay FAMILY        of the tunnels: ipv4, ipv6, or auto (default): ipv4 where both nodes have it\n"
	      "  --xdp MODE               on the devices that lead to other nodes: native; generic; off; auto (default): as they\n"
	      "                           are, but native on physical ones and TAPs whose driver can\n"
	      "  --cluster-key FILE       16 bytes or 32 hex digits, the same on every node of the cluster\n"
	      "                           (default: " WARREN_CLUSTER_KEY ", made at random)\n"
	      "  --metrics ADDRESS        where to serve metrics: IPV4:PORT, [IPV6]:PORT, unix:PATH or off\n"
	      "                           (default: " METRICS_ADDRESS ")\n"
	      "  --max-policy-entries N   entries that the policy map may have at most\n"
	      "  --log-file FILE          (default: standard error)\n"
	      "  --log-level LEVEL        error, warn, info or debug (default: info)\n"
	      "  --help, --version\n\n"
	      "SIGHUP reads everything again; SIGTERM ends the agent and leaves the data plane as it is.\n",
	      f);
}

static int parse_count(const char *text, size_t *count, struct err *err)
{
	char *end;

	errno = 0;
	*count = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || *count == 0)
		return err_set(err, EINVAL, "--max-policy-entries %s: not a number from 1", text);
	return 0;
}

/* Which of the words it is. */
static int parse_word(const char *option, const char *text, const char *const words[3], int *number, struct err *err)
{
	for (int i = 0; i < 3; i++) {
		if (strcmp(text, words[i]) == 0) {
			*number = i;
			return 0;
		}
	}
	return err_set(err, EINVAL, "%s %s: not %s, %s or %s", option, text, words[0], words[1], words[2]);
}

static int parse_routing(const char *text, enum routing_mode *mode, struct err *err)
{
	static const char *const words[] = { [ROUTING_TUNNEL] = "tunnel", [ROUTING_DIRECT] = "direct", [ROUTING_AUTO] = "auto" };
	int number = 0, ret = parse_word("--routing-mode", text, words, &number, err);

	if (ret == 0)
		*mode = (enum routing_mode)number;
	return ret;
}

static int parse_underlay(const char *text, int *family, struct err *err)
{
	static const char *const words[] = { "auto", "ipv4", "ipv6" };
	static const int families[] = { 0, AF_INET, AF_INET6 };
	int number = 0, ret = parse_word("--underlay", text, words, &number, err);

	if (ret == 0)
		*family = families[number];
	return ret;
}

static int parse_node_name(const char *text, const char **name, struct err *err)
{
	if (!name_is_dns_subdomain(text))
		return err_set(err, EINVAL, "--node-name %s: " NAME_DNS_SUBDOMAIN, text);
	*name = text;
	return 0;
}

static int take_option(int option, struct options *options, struct err *err)
{
	switch (option) {
	case OPT_MANIFESTS:
		options->manifests = optarg;
		return 0;
	case OPT_KEY:
		options->key_file = optarg;
		return 0;
	case OPT_METRICS:
		options->metrics = strcmp(optarg, "off") == 0 ? NULL : optarg;
		return 0;
	case OPT_LOG_FILE:
		options->log_file = optarg;
		return 0;
	case OPT_LOG_LEVEL:
		if (log_level_parse(optarg, &options->log_level) < 0)
			return err_set(err, EINVAL, "--log-level %s: not error, warn, info or debug", optarg);
		return 0;
	case OPT_MAX_POLICY:
		return parse_count(optarg, &options->max_policy_entries, err);
	case OPT_NODE_NAME:
		return parse_node_name(optarg, &options->cluster.node_name, err);
	case OPT_ROUTING:
		return parse_routing(optarg, &options->cluster.mode, err);
	case OPT_UNDERLAY:
		return parse_underlay(optarg, &options->cluster.underlay, err);
	case OPT_XDP:
		if (dp_xdp_mode_parse(optarg, &options->cluster.xdp) < 0)
			return err_set(err, EINVAL, "--xdp %s: not auto, native, generic or off", optarg);
		return 0;
	case OPT_HELP:
		options->help = true;
		return 0;
	case OPT_VERSION:
		options->version = true;
		return 0;
	default:
		return -EINVAL;
	}
}

/* As kubelet names a node: the host's name in lower case. */
static void default_node_name(struct options *options)
{
	if (gethostname(options->host_name, sizeof(options->host_name) - 1) < 0)
		options->host_name[0] = '\0';
	for (char *p = options->host_name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	options->cluster.node_name = options->host_name;
}

int options_parse(int argc, char **argv, struct options *options, struct err *err)
{
	int option;

	*options = (struct options){ .metrics = METRICS_ADDRESS, .log_level = LOG_INFO, .cluster.xdp = DP_XDP_AUTO };
	default_node_name(options);
	optind = 0; /* may be called again */
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		int ret;

		if (option == '?' || option == ':')
			return err_set(err, EINVAL, "%s: %s", argv[optind - 1],
				       option == '?' ? "no such option" : "needs a value");
		ret = take_option(option, options, err);
		if (ret < 0)
			return ret;
	}
	if (options->help || options->version)
		return 0;
	if (optind < argc)
		return err_set(err, EINVAL, "%s: not an option", argv[optind]);
	if (!options->manifests)
		return err_set(err, EINVAL, "no source of objects: --manifests DIR");
	return 0;
}
