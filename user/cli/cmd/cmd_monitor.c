/* SPDX-License-Identifier: BSD-2-Clause */
/* warren monitor: drops and newly evaluated flows, as they happen. */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "cleanup.h"
#include "cli.h"
#include "clock.h"
#include "enum_names.h"
#include "events.h"
#include "flows.h"
#include "json.h"
#include "packet.h"
#include "peers.h"

struct monitor {
	struct cli *cli;
	struct pods pods;
	struct remotes remotes;
	struct dp_conntrack conntrack;
	struct service_rows services;
	uint64_t pods_read, remotes_read, services_read; /* times of the last reload, CLOCK_MONOTONIC */
	int reason;	    /* show only this one; -1: any */
	bool drops, allows; /* kinds of events to show */
	int64_t left;	    /* events still to show; -1: no limit */
	struct wr_event_stats before; /* when listening began */
};

/* --- pods and nodes --- */

/* An unknown pod may be new: reloads the records, but at most once a second, since packets may come at any rate. */
static const struct pod *find_pod(struct monitor *m, uint32_t ifindex)
{
	const struct pod *pod = pods_find(&m->pods, ifindex);

	if (pod || !ifindex || clock_ns(CLOCK_MONOTONIC) - m->pods_read < NS_PER_S)
		return pod;
	m->pods_read = clock_ns(CLOCK_MONOTONIC);
	if (pods_load(&m->pods, NULL) < 0)
		return NULL; /* show the packet without a name */
	return pods_find(&m->pods, ifindex);
}

/* Reloads nodes and their pods if this one is unknown, at most once a second. */
static void find_remote(struct monitor *m, uint32_t side, const struct ip *ip)
{
	if ((remotes_by_slot(&m->remotes, side & ~WR_REMOTE) && remotes_pod(&m->remotes, ip)) ||
	    clock_ns(CLOCK_MONOTONIC) - m->remotes_read < NS_PER_S)
		return;
	(void)remotes_load(&m->remotes, true, NULL); /* on failure: show the packet without a name */
	m->remotes_read = clock_ns(CLOCK_MONOTONIC); /* after the load, which is slow if the agent hangs */
}

/* The peer's address in the packet. */
static const struct ip *peer_ip(const struct wr_event *ev, const struct packet *p)
{
	const struct packet *innermost = p->inner ?: p;

	return ev->direction == WR_EGRESS ? &innermost->destination : &innermost->source;
}

static void describe_remote(struct monitor *m, const struct wr_event *ev, const struct packet *p,
			    const char *preposition)
{
	const struct ip *ip = peer_ip(ev, p);
	const bool world = ev->peer_identity == WR_ID_WORLD; /* forwarded by that node's stack */
	char label[REMOTE_LABEL_MAX];
	json_auto_t *json = json_object();
	struct out *o = m->cli->out;

	find_remote(m, ev->peer_ifindex, ip);
	remote_json(&m->remotes, ev->peer_ifindex, ip, json);
	out_fieldf(o, "peer", json_string(world ? "world" : "node"), OUT_PLAIN, "%s %s%s", preposition,
		   world ? "world by " : "", remote_label(&m->remotes, ev->peer_ifindex, ip, label));
	out_json(o, "peer_node", json_incref(json_object_get(json, "node")));
	out_json(o, "peer_slot", json_incref(json_object_get(json, "slot")));
	out_json(o, "peer_pod", json_incref(json_object_get(json, "pod")));
}

static void describe_peer(struct monitor *m, const struct wr_event *ev, const struct packet *p)
{
	const char *preposition = ev->direction == WR_EGRESS ? "to" : "from";
	const struct pod *pod;
	struct out *o = m->cli->out;
	char label[POD_LABEL_MAX], number[NUMBER_STRLEN];
	const char *identity;

	if (ev->peer_ifindex & WR_REMOTE) {
		describe_remote(m, ev, p, preposition);
		return;
	}
	if (!ev->peer_ifindex) {
		identity = identity_name(ev->peer_identity, number);
		out_fieldf(o, "peer", json_string(identity), OUT_PLAIN, "%s %s", preposition, identity);
		return;
	}
	pod = find_pod(m, ev->peer_ifindex);
	out_fieldf(o, "peer", json_string("endpoint"), OUT_PLAIN, "%s endpoint %u %s", preposition, ev->peer_ifindex,
		   pod_label(pod, label));
	out_json(o, "peer_endpoint", json_integer(ev->peer_ifindex));
	out_json(o, "peer_pod", pod_name_json(pod));
}

/* --- services --- */

/* The name of a service. If it is unknown, queries the agent again, at most once a second; the maps hold no names. */
static const char *find_service(struct monitor *m, const struct ip *ip, uint16_t port, uint8_t protocol,
				char buf[SERVICE_NAME_MAX])
{
	const struct service_row *row = service_rows_find(&m->services, ip, port, protocol);

	if (!row && (!m->services_read || clock_ns(CLOCK_MONOTONIC) - m->services_read >= NS_PER_S)) {
		service_rows_free(&m->services);
		(void)service_rows_load_named(m->cli, &m->services); /* on failure: show the packet without a name */
		m->services_read = clock_ns(CLOCK_MONOTONIC);
		row = service_rows_find(&m->services, ip, port, protocol);
	}
	return row ? service_row_name(row, buf) : NULL;
}

/*
 * The service that the packet belongs to; "": none. An allowed packet shows the backend's address after DNAT, so the
 * frontend is looked up in conntrack. A denied packet shows the frontend as it was sent, and its peer is the backend.
 */
static void describe_service(struct monitor *m, const struct wr_event *ev, const struct packet *p, char *buf, size_t size)
{
	const struct dp_flow flow = { .ip = { p->source, p->destination },
				      .port = { p->source_port, p->destination_port },
				      .protocol = p->l4_proto };
	const char *name = NULL, *protocol = l4_proto_name(p->l4_proto);
	char socket[SOCKET_STRLEN], name_buf[SERVICE_NAME_MAX];
	struct ip ip = p->destination;
	uint16_t port = p->destination_port;
	bool to_service = p->ports && ev->evaluated && ev->direction == WR_EGRESS && reason_drops(ev->reason);

	buf[0] = '\0';
	if (p->ports && dp_flow_service(&m->conntrack, &flow, &ip, &port)) {
		to_service = true;
		name = find_service(m, &ip, port, p->l4_proto, name_buf);
	} else if (to_service) {
		name = find_service(m, &ip, port, p->l4_proto, name_buf);
		to_service = name;
	}
	if (!to_service) {
		out_json(m->cli->out, "service", json_null());
		return;
	}
	socket_format(&ip, port, socket);
	snprintf(buf, size, ", through service %s%s%s/%s", name ?: "", name ? " at " : "", socket, protocol ?: "");
	out_json(m->cli->out, "service", service_json(&ip, port, name));
}

/* --- time --- */

/* Events carry the time since boot, which is shown as wall-clock time. */
static void describe_time(struct out *o, const struct wr_event *ev)
{
	uint64_t wall = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME) + ev->time_ns;
	time_t seconds = (time_t)(wall / NS_PER_S);
	unsigned ms = (unsigned)(wall % NS_PER_S / NS_PER_MS);
	char json[40], text[16];
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(json, sizeof(json), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(json + n, sizeof(json) - n, ".%03uZ", ms);
	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	out_fieldf(o, "time", json_string(json), OUT_PLAIN, "%s.%03u", text, ms);
}

/* --- packet --- */

/* Returns the rules that decided, as text; "" if none was evaluated. In JSON an object per enforcement point. */
static const char *describe_rules(struct out *o, const struct wr_event *ev, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		char text[RULE_STRLEN];
		const char *rule;

		if (!(ev->evaluated >> i & 1)) {
			out_json(o, direction_name(i), json_null());
			continue;
		}
		rule = rule_text(ev->rule[i], ev->policy_class[i], text);
		if (used < size)
			used += (size_t)snprintf(buf + used, size - used, "%s%s: %s", used ? "; " : "",
						 direction_name(i), rule);
		out_json(o, direction_name(i),
			  json_pack("{sssIsI}", "because", rule, "rule", (json_int_t)ev->rule[i], "class",
				    (json_int_t)ev->policy_class[i]));
	}
	return buf;
}

static void describe_packet(struct monitor *m, const struct wr_event *ev, const struct packet *p)
{
	struct out *o = m->cli->out;
	/* MAC addresses are shown if they are the reason. */
	bool macs = ev->reason == WR_REASON_SPOOFED_MAC || ev->reason == WR_REASON_BAD_DESTINATION;
	const char *meaning = reason_text(ev->reason), *why;
	char packet[PACKET_TEXT_MAX], rules[2 * RULE_STRLEN + 32], service[SERVICE_NAME_MAX + SOCKET_STRLEN + 40];
	char suppressed[48] = "";

	packet_format(p, macs, packet, sizeof(packet));
	describe_service(m, ev, p->inner ?: p, service, sizeof(service));
	why = describe_rules(o, ev, rules, sizeof(rules));
	if (!*why)
		why = meaning ?: "";
	if (ev->suppressed)
		snprintf(suppressed, sizeof(suppressed), " (%u earlier events suppressed)", ev->suppressed);
	out_fieldf(o, "packet", json_string(packet), OUT_PLAIN, "%s, %u bytes%s%s%s%s", packet, ev->length, service,
		   *why ? ": " : "", why, suppressed);
	out_json(o, "suppressed", json_integer(ev->suppressed));
	out_json(o, "meaning", meaning ? json_string(meaning) : json_null());
	out_json(o, "length", json_integer(ev->length));
	out_json(o, "headers", packet_json(p));
}

/* Where the event happened: at an endpoint, or at an uplink or warren0. */
static void describe_where(struct monitor *m, const struct wr_event *ev)
{
	const struct pod *pod = find_pod(m, ev->ifindex);
	const bool endpoint = pod || dp_endpoint_get(&m->cli->dp, ev->ifindex, &(struct wr_endpoint){ 0 }, NULL) == 0;
	char name[IF_NAMESIZE];
	const char *device = endpoint ? NULL : if_indextoname(ev->ifindex, name);

	if (device)
		out_fieldf(m->cli->out, "endpoint", json_null(), OUT_PLAIN, "device %s", device);
	else
		out_fieldf(m->cli->out, "endpoint", json_integer(ev->ifindex), OUT_PLAIN, "endpoint %u", ev->ifindex);
	out_json(m->cli->out, "device", device ? json_string(device) : json_null());
	out_pod(m->cli->out, "pod", pod);
}

/* Unknown reasons, of a newer release, count as drops: most reasons are. */
static bool is_drop(const struct wr_event *ev)
{
	return !reason_name(ev->reason) || reason_drops(ev->reason);
}

static void describe(struct monitor *m, const struct wr_event *ev)
{
	const char *reason = reason_name(ev->reason), *direction = direction_name(ev->direction);
	const struct packet_tunnel tunnel = tunnel_form(&m->remotes.cluster);
	struct out *o = m->cli->out;
	struct packet p, inner;
	char text[NUMBER_STRLEN + 12];

	packet_parse(&p, &inner, &tunnel, ev->headers,
		     ev->captured < WR_EVENT_HEADERS ? ev->captured : WR_EVENT_HEADERS);
	out_record(o, NULL);
	describe_time(o, ev);
	describe_where(m, ev);
	out_json(o, "direction", direction ? json_string(direction) : json_null());
	describe_peer(m, ev, &p);
	snprintf(text, sizeof(text), "reason %u", ev->reason);
	out_word(o, "reason", reason ?: text, is_drop(ev) ? OUT_RED : OUT_GREEN);
	out_json(o, "verdict", json_string(is_drop(ev) ? "drop" : "pass"));
	describe_packet(m, ev, &p);
	out_end(o);
}

/* 1: --count is reached. */
static int on_event(const struct wr_event *ev, void *arg)
{
	struct monitor *m = arg;
	int r;

	if ((m->cli->options.endpoint >= 0 && m->cli->options.endpoint != ev->ifindex) ||
	    (m->reason >= 0 && m->reason != ev->reason) || !(is_drop(ev) ? m->drops : m->allows))
		return 0;
	describe(m, ev);
	r = out_flush_line(m->cli->out, &m->cli->err);
	if (r < 0)
		return r;
	return m->left > 0 && --m->left == 0;
}

/* --- signals and timeouts --- */

static int stop_fd = -1;

static void on_signal(int sig)
{
	uint64_t one = 1;
	int saved = errno;

	(void)!write(stop_fd, &one, sizeof(one));
	errno = saved;
}

/* Without SA_RESTART, so that a write to a stalled reader is interrupted too. */
static int catch_signals(struct err *err)
{
	const struct sigaction action = { .sa_handler = on_signal };

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0 || sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0)
		return err_errno(err, errno, "cannot wait for signals");
	return 0;
}

/* Time until the deadline (0: none) or until the listener must renew its registration, whichever is earlier. */
static int wait_ms(uint64_t deadline, uint64_t renew)
{
	const uint64_t time = clock_ns(CLOCK_MONOTONIC), until = deadline && deadline < renew ? deadline : renew;

	return time >= until ? 0 : (int)((until - time + NS_PER_MS - 1) / NS_PER_MS);
}

/* Events that were suppressed or lost since listening began. */
static void report_missing(const struct monitor *m)
{
	struct wr_event_stats now;

	if (dp_event_stats(&now, NULL) < 0)
		return;
	if (now.suppressed != m->before.suppressed)
		fprintf(stderr, "%" PRIu64 " events were suppressed: more than %d a second from one endpoint\n",
			(uint64_t)(now.suppressed - m->before.suppressed), WR_EVENT_RATE);
	if (now.lost != m->before.lost)
		fprintf(stderr, "%" PRIu64 " events were lost: the ring was full\n",
			(uint64_t)(now.lost - m->before.lost));
}

/* Runs until a signal, the deadline, --count, or until the reader closes stdout. */
static int watch(struct monitor *m, struct dp_events *events, uint64_t deadline)
{
	struct pollfd fds[] = {
		{ .fd = dp_events_fd(events), .events = POLLIN },
		{ .fd = stop_fd, .events = POLLIN },
		{ .fd = STDOUT_FILENO }, /* for POLLERR, which needs no event mask */
	};

	uint64_t renew = 0;

	for (;;) {
		int r;

		if (clock_ns(CLOCK_MONOTONIC) >= renew) {
			r = dp_events_renew(&m->cli->err);
			if (r < 0)
				return r;
			renew = clock_ns(CLOCK_MONOTONIC) + WR_EVENT_RENEW_NS;
		}
		r = poll(fds, 3, wait_ms(deadline, renew));
		if (r < 0 && errno != EINTR)
			return err_errno(&m->cli->err, errno, "cannot wait for events");
		if (r > 0 && (fds[1].revents || fds[2].revents))
			return 0;
		if (deadline && clock_ns(CLOCK_MONOTONIC) >= deadline)
			return 0;
		if (r <= 0 || !fds[0].revents)
			continue;
		r = dp_events_poll(events, 0, on_event, m, &m->cli->err);
		if (m->left == 0 || r == -EINTR)
			return 0;
		if (r < 0)
			return r;
	}
}

int cmd_monitor(struct cli *cli)
{
	/* Without --drops and --allows both kinds are shown. */
	struct monitor m = {
		.cli = cli,
		.reason = -1,
		.drops = cli->options.drops || !cli->options.allows,
		.allows = cli->options.allows || !cli->options.drops,
		.left = cli->options.count,
		.conntrack = DP_CONNTRACK_CLOSED,
	};
	struct dp_events *events = NULL;
	uint64_t deadline = 0;
	uint8_t reason;
	int r;

	if (cli->options.reason) {
		if (reason_parse(cli->options.reason, &reason) < 0)
			return cli_usage_error(cli, "'%s' is not a reason: `warren metrics --all` lists them",
					       cli->options.reason);
		m.reason = reason;
	}
	r = cli_open(cli);
	if (r == 0)
		r = remotes_load(&m.remotes, true, &cli->err);
	if (r == 0)
		r = dp_conntrack_open(&m.conntrack, &cli->err);
	if (r == 0)
		r = catch_signals(&cli->err);
	if (r == 0)
		r = dp_event_stats(&m.before, &cli->err);
	if (r == 0)
		r = dp_events_open(&events, &cli->err);
	if (r == 0) {
		fprintf(stderr, "listening ... Ctrl-C ends\n");
		if (cli->options.timeout >= 0)
			deadline = clock_ns(CLOCK_MONOTONIC) + (uint64_t)cli->options.timeout * NS_PER_S;
		r = watch(&m, events, deadline);
		report_missing(&m);
		dp_events_close(events);
	}
	closep(&stop_fd);
	dp_conntrack_close(&m.conntrack);
	service_rows_free(&m.services);
	remotes_free(&m.remotes);
	pods_free(&m.pods);
	return r;
}
