/* SPDX-License-Identifier: BSD-2-Clause */
#include "pod_ports.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <string.h>
#include <strings.h>

#include "abi/node.h"
#include "array.h"
#include "cleanup.h"
#include "error.h"
#include "file.h"
#include "nl.h"
#include "sock_diag.h"

#define PORT_RANGE "/proc/sys/net/ipv4/ip_local_port_range"

void pod_ports_free(struct pod_ports *ports)
{
	free(ports->v);
	*ports = (struct pod_ports){ 0 };
}

/* --- decode ------------------------------------------------------------------------------------------------------- */

static int parse_protocol(const json_t *mapping, uint8_t *protocol, struct err *err)
{
	const char *name = "tcp";
	const int ret = json_get_string(mapping, "protocol", &name, err);

	if (ret < 0 && ret != -ENOENT)
		return ret;
	*protocol = !*name || strcasecmp(name, "tcp") == 0 ? IPPROTO_TCP
		    : strcasecmp(name, "udp") == 0	   ? IPPROTO_UDP
		    : strcasecmp(name, "sctp") == 0	   ? IPPROTO_SCTP
							   : 0;
	return *protocol ? 0 : err_set(err, EINVAL, "\"protocol\" (%.32s) must be tcp, udp or sctp", name);
}

static int parse_port(const json_t *mapping, const char *key, uint16_t *port, struct err *err)
{
	int64_t number = 0;
	const int ret = json_get_int(mapping, key, 1, UINT16_MAX, &number, err);

	if (ret == -ENOENT)
		return err_set(err, EINVAL, "\"%s\" is missing", key);
	*port = (uint16_t)number;
	return ret;
}

/* hostIP; family 0: every address of both families. */
static int parse_host_ip(const json_t *mapping, struct ip *ip, struct err *err)
{
	const char *text = "";
	const int ret = json_get_string(mapping, "hostIP", &text, err);

	*ip = (struct ip){ 0 };
	if (ret < 0 && ret != -ENOENT)
		return ret;
	if (*text && ip_parse(text, ip) < 0)
		return err_set(err, EINVAL, "\"hostIP\" (%.64s) is not an address", text);
	return 0;
}

/*
 * The mapping with its names as documented: containerd writes "HostPort", as the reference plugin's decoder ignores case.
 * NULL: a name twice, or no memory.
 */
static json_t *names_normalized(const json_t *mapping)
{
	static const char *const names[] = { "hostPort", "containerPort", "protocol", "hostIP" };
	json_auto_t *normalized = json_object();
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)mapping, key, value) {
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			if (strcasecmp(key, names[i]) == 0 &&
			    (json_object_get(normalized, names[i]) || json_object_set(normalized, names[i], value) < 0))
				return NULL;
		}
	}
	return json_incref(normalized);
}

static int parse_mapping(const json_t *from, struct dp_host_port *to, struct err *err)
{
	json_auto_t *mapping = NULL;
	int ret;

	if (!json_is_object(from))
		return err_set(err, EINVAL, "it must be an object");
	mapping = names_normalized(from);
	if (!mapping)
		return err_set(err, EINVAL, "it has a member twice");
	ret = parse_port(mapping, "hostPort", &to->port, err);
	if (ret == 0)
		ret = parse_port(mapping, "containerPort", &to->target, err);
	if (ret == 0)
		ret = parse_protocol(mapping, &to->protocol, err);
	return ret == 0 ? parse_host_ip(mapping, &to->ip, err) : ret;
}

int pod_ports_parse(const json_t *mappings, bool v4, bool v6, struct pod_ports *ports, struct err *err)
{
	const json_t *mapping;
	size_t i;

	*ports = (struct pod_ports){ 0 };
	if (json_array_size(mappings) > POD_PORTS_MAX)
		return err_set(err, EINVAL, "\"portMappings\" has %zu mappings; a pod may have %d", json_array_size(mappings),
			       POD_PORTS_MAX);
	ports->v = calloc(2 * json_array_size(mappings) + 1, sizeof(*ports->v));
	if (!ports->v)
		return err_errno(err, ENOMEM, "\"portMappings\"");
	json_array_foreach(mappings, i, mapping) {
		struct dp_host_port port = { 0 };
		const int ret = parse_mapping(mapping, &port, err);
		const int family = port.ip.family;

		if (ret < 0) {
			err_wrap(err, "\"portMappings\"[%zu]", i);
			pod_ports_free(ports);
			return ret;
		}
		port.ip.family = AF_INET;
		if (v4 && family != AF_INET6)
			ports->v[ports->count++] = port;
		port.ip.family = AF_INET6;
		if (v6 && family != AF_INET)
			ports->v[ports->count++] = port;
	}
	return 0;
}

static int parse(const struct conf *conf, const struct attachment *a, struct pod_ports *ports, struct err *err)
{
	const int ret = pod_ports_parse(conf->port_mappings, a->ip4.family, a->ip6.family, ports, err);

	return ret < 0 ? err_wrap(err, "runtimeConfig") : 0;
}

/* --- ports of the node -------------------------------------------------------------------------------------------- */

/* Marks the addresses of this host, which a socket can be bound to. */
static void mark_own(struct dp_host_port *port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	const bool is_v6 = port->ip.family == AF_INET6;
	_cleanup_fd_ int fd = -1;

	if (dp_host_port_is_everywhere(port))
		return;
	fd = socket(port->ip.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(&v4.sin_addr, port->ip.bytes, sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, port->ip.bytes, sizeof(v6.sin6_addr));
	port->own = fd >= 0 && bind(fd, is_v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4,
				    is_v6 ? sizeof(v6) : sizeof(v4)) == 0;
}

struct search {
	const struct pod_ports *ports;
	uint8_t protocol;
	const struct dp_host_port *found;
};

static bool is_everywhere(const struct ip *ip)
{
	return dp_host_port_is_everywhere(&(struct dp_host_port){ .ip = *ip });
}

static int compare(const struct sock_bound *bound, void *arg)
{
	struct search *s = arg;

	for (size_t i = 0; i < s->ports->count; i++) {
		const struct dp_host_port *port = &s->ports->v[i];

		if (port->protocol != s->protocol || port->port != bound->port ||
		    (port->ip.family != bound->ip.family && !bound->dual))
			continue;
		/* A process at a loopback address keeps that; only others' clients are the pod's. */
		if (is_everywhere(&bound->ip) || ip_equal(&bound->ip, &port->ip) ||
		    (is_everywhere(&port->ip) && ip_is_reachable(&bound->ip))) {
			s->found = port;
			return 1;
		}
	}
	return 0;
}

/* A port that a process of the node has. Where the kernel does not list sockets, the programs alone protect it. */
static int check_processes(const struct pod_ports *ports, struct err *err)
{
	static const struct {
		uint8_t family, protocol;
	} kinds[] = { { AF_INET, IPPROTO_TCP },
		      { AF_INET6, IPPROTO_TCP },
		      { AF_INET, IPPROTO_UDP },
		      { AF_INET6, IPPROTO_UDP } };
	_cleanup_nl_ struct nl nl = { .sock = NULL };
	struct search s = { .ports = ports };
	char text[HOST_PORT_STRLEN];
	int ret = nl_open(&nl, NETLINK_SOCK_DIAG, err);

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && ret == 0; i++) {
		s.protocol = kinds[i].protocol;
		ret = sock_each_bound(&nl, kinds[i].family, kinds[i].protocol, compare, &s, err);
		ret = ret == -ENOENT ? 0 : ret;
	}
	if (ret <= 0)
		return ret;
	err_set(err, EADDRINUSE, "a process of this node has the hostPort %s", dp_host_port_format(s.found, text));
	err_hint(err, "choose another hostPort; `ss -lntup` on the node shows the process");
	return cni_code(err, CNI_ERR_HOST_PORT);
}

/*
 * Replies to what pods and the node have sent come to UDP ports of the node: by the packet alone, one cannot be
 * distinguished from a request to a hostPort. Where the nftables table keeps masqueraded packets below WR_TUNNEL_SPORT_FIRST, only
 * sockets of the node are above, which the programs look up.
 */
static int check_replies(const struct pod_ports *ports, const struct wr_config *config, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	unsigned first = 32768, last = 60999;
	size_t size;

	if (file_read(PORT_RANGE, 64, &text, &size, NULL) == 0)
		sscanf(text, "%u %u", &first, &last);
	if (config->tunnel_port && last >= WR_TUNNEL_SPORT_FIRST)
		last = WR_TUNNEL_SPORT_FIRST - 1;
	for (size_t i = 0; i < ports->count; i++) {
		const struct dp_host_port *port = &ports->v[i];

		if (port->protocol != IPPROTO_UDP || port->port < first || port->port > last)
			continue;
		err_set(err, EADDRINUSE, "UDP hostPort %u is one of the ports %u to %u, to which others get their replies",
			port->port, first, last);
		err_hint(err, "choose another hostPort; `sysctl net.ipv4.ip_local_port_range` has the node's range");
		return cni_code(err, CNI_ERR_HOST_PORT);
	}
	return 0;
}

static int check_tunnel(const struct pod_ports *ports, const struct wr_config *config, struct err *err)
{
	for (size_t i = 0; i < ports->count; i++) {
		const struct dp_host_port *port = &ports->v[i];

		if (port->protocol == IPPROTO_UDP && config->tunnel_port && htons(port->port) == config->tunnel_port) {
			err_set(err, EADDRINUSE, "UDP hostPort %u is the port of the tunnel between nodes",
				port->port);
			err_hint(err, "choose another hostPort");
			return cni_code(err, CNI_ERR_HOST_PORT);
		}
	}
	return 0;
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

int pod_ports_add(const struct conf *conf, const struct attachment *a, const struct wr_config *config, struct err *err)
{
	_cleanup_pod_ports_ struct pod_ports ports = { 0 };
	int ret = parse(conf, a, &ports, err);

	if (ret < 0)
		return cni_code(err, CNI_ERR_CONFIG);
	if (!ports.count)
		return 0;
	ret = check_tunnel(&ports, config, err);
	if (ret == 0)
		ret = check_replies(&ports, config, err);
	if (ret == 0)
		ret = check_processes(&ports, err);
	for (size_t i = 0; i < ports.count && ret == 0; i++)
		mark_own(&ports.v[i]);
	if (ret == 0)
		ret = dp_host_ports_put(a->host_ifindex, ports.v, ports.count, err);
	return ret == -EEXIST ? cni_code(err, CNI_ERR_HOST_PORT) : ret;
}

struct expected {
	const struct pod_ports *ports;
	uint32_t ifindex;
	size_t found;
};

static int match(const struct dp_host_port *present, void *arg)
{
	struct expected *e = arg;

	for (size_t i = 0; present->ifindex == e->ifindex && i < e->ports->count; i++) {
		const struct dp_host_port *port = &e->ports->v[i];

		e->found += ip_equal(&port->ip, &present->ip) && port->port == present->port &&
			    port->protocol == present->protocol && port->target == present->target;
	}
	return 0;
}

int pod_ports_check(const struct conf *conf, const struct attachment *a, struct err *err)
{
	_cleanup_pod_ports_ struct pod_ports ports = { 0 };
	struct expected e = { .ports = &ports, .ifindex = a->host_ifindex };
	int ret = parse(conf, a, &ports, err);

	if (ret < 0 || !ports.count)
		return ret;
	ret = dp_host_port_each(match, &e, err);
	if (ret == 0 && e.found != ports.count)
		ret = err_set(err, ENOENT, "endpoint %u: %zu of its %zu hostPorts are in the maps", a->host_ifindex, e.found,
			      ports.count);
	return ret;
}
