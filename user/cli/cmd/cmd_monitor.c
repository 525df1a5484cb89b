/* SPDX-License-Identifier: BSD-2-Clause */
/* warren monitor: drops and newly evaluated flows, as they happen. */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h> /* before linux/icmp.h, which else defines the same */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "cli.h"
#include "clock.h"
#include "enum_names.h"
#include "events.h"
#include "explanation.h"
#include "flows.h"
#include "json.h"
#include "live.h"
#include "packet.h"
#include "peers.h"

/*
 * Asking the agent takes at most this part of its time, after a burst: denials may come at any rate, and what one costs
 * depends on the policies.
 */
#define ASK_FRACTION 10 /* a tenth */
#define ASK_BURST_NS (NS_PER_S / 10)

/* The last explanation of a class and direction. */
#define EXPLAINED 64
struct explained {
	struct denial denial;
	json_t *explanation; /* NULL: none yet */
	uint64_t read;	     /* CLOCK_MONOTONIC */
};

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
	struct explained explained[EXPLAINED];
	uint64_t ask_ns; /* CLOCK_MONOTONIC: the agent's time up to then is used */
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
	struct dp_flow flow = { .ip = { p->source, p->destination },
				.port = { p->source_port, p->destination_port },
				.protocol = p->l4_proto,
				.service = p->destination,
				.service_port = p->destination_port };
	const char *name = NULL, *protocol = l4_proto_name(p->l4_proto);
	char socket[SOCKET_STRLEN], name_buf[SERVICE_NAME_MAX], from[32] = "";
	bool to_service = p->ports && ev->evaluated && ev->direction == WR_EGRESS && reason_drops(ev->reason);

	buf[0] = '\0';
	if (p->ports && dp_flow_service(&m->conntrack, &flow)) {
		to_service = true;
		name = find_service(m, &flow.service, flow.service_port, p->l4_proto, name_buf);
	} else if (to_service) {
		name = find_service(m, &flow.service, flow.service_port, p->l4_proto, name_buf);
		to_service = name;
	}
	if (!to_service) {
		out_json(m->cli->out, "service", json_null());
		return;
	}
	socket_format(&flow.service, flow.service_port, socket);
	if (flow.client_port)
		snprintf(from, sizeof(from), " from port %u", flow.client_port);
	snprintf(buf, size, ", through service %s%s%s/%s%s", name ?: "", name ? " at " : "", socket, protocol ?: "", from);
	out_json(m->cli->out, "service", service_json(&flow, name));
}

/* --- denials --- */

/* The backend that a service's address stood for in a denied packet: one at the peer. */
static void find_backend(struct monitor *m, const struct wr_event *ev, uint8_t protocol, struct ip *ip, uint16_t *port)
{
	const struct dp_service service = { .ip = *ip, .port = *port, .protocol = protocol };
	const struct remote_node *node =
	    ev->peer_ifindex & WR_REMOTE ? remotes_by_slot(&m->remotes, ev->peer_ifindex & ~WR_REMOTE) : NULL;
	_cleanup_free_ struct dp_backend *backends = NULL;
	const int v6 = ip->family == AF_INET6;
	struct wr_endpoint peer = { 0 };
	struct ip peer_ip;
	size_t count = 0;

	if (dp_service_backends(&service, &backends, &count, NULL) < 0)
		return;
	if (ev->peer_ifindex && !node)
		(void)dp_endpoint_get(&m->cli->dp, ev->peer_ifindex, &peer, NULL);
	peer_ip = v6 ? ip_from6(&peer.addr6) : ip_from4(&peer.addr4);
	for (size_t i = 0; i < count; i++) {
		if (node ? !prefix_contains(&node->dp.cidrs[v6], &backends[i].ip)
			 : ev->peer_ifindex && !ip_equal(&peer_ip, &backends[i].ip))
			continue;
		*ip = backends[i].ip;
		*port = backends[i].port;
		return;
	}
}

/* From the flow's entry, or else as of a flow's first packet. False: the packet does not show its flow. */
static bool find_denial(struct monitor *m, const struct wr_event *ev, const struct packet *p, uint32_t direction,
			struct denial *d)
{
	const bool echo_reply = p->echo && (p->icmp_type == ICMP_ECHOREPLY || p->icmp_type == ICMPV6_ECHO_REPLY);
	struct dp_flow ends = { .ip = { p->source, p->destination },
				.port = { p->echo ? p->echo_id : p->source_port, p->destination_port },
				.protocol = p->l4_proto }, flow;
	uint32_t at[2] = { ev->ifindex, ev->peer_ifindex }; /* source and destination */
	struct wr_endpoint ep;

	if (!p->transport || (!p->ports && !p->echo))
		return false;
	if (echo_reply) { /* the initiator first */
		ends.ip[0] = p->destination;
		ends.ip[1] = p->source;
	}
	if (ev->direction == WR_INGRESS)
		at[0] = ev->peer_ifindex, at[1] = ev->ifindex;
	*d = (struct denial){ .direction = direction,
			      .rule = ev->rule[direction],
			      .policy_class = ev->policy_class[direction],
			      .protocol = p->l4_proto };
	if (dp_flow_find(&m->conntrack, &ends, &flow) && flow.ct.at[direction].rule == d->rule &&
	    dp_ct_is_denied(&flow.ct, direction)) {
		d->endpoint = direction == WR_EGRESS ? flow.ct.initiator : flow.ct.responder;
		d->peer_identity = flow.ct.at[direction].peer;
		d->peer_ips[0] = flow.ip[direction == WR_EGRESS];
		d->port = flow.port[1];
		return true;
	}
	d->endpoint = at[direction == WR_INGRESS];
	d->port = p->ports ? p->destination_port : 0;
	if (direction == WR_EGRESS || d->endpoint != ev->ifindex)
		find_backend(m, ev, p->l4_proto, &ends.ip[1], &d->port);
	d->peer_ips[0] = ends.ip[direction == WR_EGRESS];
	if (d->endpoint == ev->ifindex)
		d->peer_identity = ev->peer_identity;
	else if (dp_endpoint_get(&m->cli->dp, ev->ifindex, &ep, NULL) == 0)
		d->peer_identity = ep.identity;
	else
		return false;
	return true;
}

static bool may_ask(struct monitor *m)
{
	const uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (m->ask_ns + ASK_BURST_NS * ASK_FRACTION < now)
		m->ask_ns = now - ASK_BURST_NS * ASK_FRACTION;
	return m->ask_ns <= now;
}

/* Why a point denied the packet; NULL: unknown. The same denial is not looked up twice in a second. */
static char *explain(struct monitor *m, const struct wr_event *ev, const struct packet *p, uint32_t direction,
		     json_t **explanation)
{
	struct explained *last = &m->explained[(ev->policy_class[direction] * 2 + direction) % EXPLAINED];
	struct denial d;
	const bool known = find_denial(m, ev, p, direction, &d);
	const bool fresh = last->explanation && clock_ns(CLOCK_MONOTONIC) - last->read < NS_PER_S;
	struct err why;

	if (known && !(fresh && denial_equal(&last->denial, &d)) && may_ask(m)) {
		const uint64_t begin = clock_ns(CLOCK_MONOTONIC);

		*explanation = denial_explain(&d, &why);
		m->ask_ns += (clock_ns(CLOCK_MONOTONIC) - begin) * ASK_FRACTION;
		if (!*explanation && why.num != ENOENT && m->ask_ns < begin + NS_PER_S)
			m->ask_ns = begin + NS_PER_S; /* no agent runs */
		if (!*explanation)
			return NULL;
		json_decref(last->explanation);
		*last = (struct explained){ d, json_incref(*explanation), clock_ns(CLOCK_MONOTONIC) };
		return denial_text(&d, *explanation);
	}
	if (fresh && known && denial_equal(&last->denial, &d)) {
		*explanation = json_incref(last->explanation);
		return denial_text(&d, *explanation);
	}
	if (last->explanation && last->denial.policy_class == ev->policy_class[direction] &&
	    last->denial.direction == direction)
		return denial_policies(last->explanation);
	return NULL;
}

/* --- packet --- */

/* The rules that decided, as text, which the caller frees; "" if none was evaluated. In JSON an object per point. */
static char *describe_rules(struct monitor *m, const struct wr_event *ev, const struct packet *p)
{
	struct out *o = m->cli->out;
	const char *before = "";
	char *all = NULL;
	size_t size;
	FILE *f = open_memstream(&all, &size);

	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		json_auto_t *explanation = NULL;
		_cleanup_free_ char *why = NULL;
		char text[RULE_STRLEN];
		const char *rule;

		if (!(ev->evaluated >> i & 1)) {
			out_json(o, direction_name(i), json_null());
			continue;
		}
		if (rule_denies(ev->rule[i]))
			why = explain(m, ev, p, i, &explanation);
		rule = why ?: rule_text(ev->rule[i], ev->policy_class[i], text);
		if (f)
			fprintf(f, "%s%s: %s", before, direction_name(i), rule);
		before = "; ";
		out_json(o, direction_name(i),
			  json_pack("{sssIsIsO?}", "because", rule, "rule", (json_int_t)ev->rule[i], "class",
				    (json_int_t)ev->policy_class[i], "explanation", explanation));
	}
	if (f)
		fclose(f);
	return all;
}

static void describe_packet(struct monitor *m, const struct wr_event *ev, const struct packet *p)
{
	struct out *o = m->cli->out;
	/* MAC addresses are shown if they are the reason. */
	bool macs = ev->reason == WR_REASON_SPOOFED_MAC || ev->reason == WR_REASON_BAD_DESTINATION;
	const char *meaning = reason_text(ev->reason), *why;
	_cleanup_free_ char *rules = NULL;
	char packet[PACKET_TEXT_MAX], service[SERVICE_NAME_MAX + SOCKET_STRLEN + 40];
	char suppressed[48] = "";

	packet_format(p, macs, packet, sizeof(packet));
	describe_service(m, ev, p->inner ?: p, service, sizeof(service));
	rules = describe_rules(m, ev, p->inner ?: p);
	why = rules && *rules ? rules : meaning ?: "";
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
	out_time(o, ev->time_ns);
	describe_where(m, ev);
	out_json(o, "direction", direction ? json_string(direction) : json_null());
	describe_peer(m, ev, &p);
	snprintf(text, sizeof(text), "reason %u", ev->reason);
	out_word(o, "reason", reason ?: text, is_drop(ev) ? OUT_RED : OUT_GREEN);
	out_json(o, "verdict", json_string(is_drop(ev) ? "drop" : "pass"));
	describe_packet(m, ev, &p);
	out_end(o);
}

/* --- events and timeouts --- */

/* 1: --count is reached. -EINTR: a signal came. */
static int on_event(const struct wr_event *ev, void *arg)
{
	struct monitor *m = arg;
	int r;

	if ((m->cli->options.endpoint >= 0 && m->cli->options.endpoint != ev->ifindex) ||
	    (m->reason >= 0 && m->reason != ev->reason) || !(is_drop(ev) ? m->drops : m->allows))
		return 0;
	if (!live_writable())
		return -EINTR;
	describe(m, ev);
	r = out_flush_line(m->cli->out, &m->cli->err);
	if (r < 0)
		return r;
	return m->left > 0 && --m->left == 0;
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
	uint64_t renew = 0;

	for (;;) {
		int r;

		if (clock_ns(CLOCK_MONOTONIC) >= renew) {
			r = dp_events_renew(&m->cli->err);
			if (r < 0)
				return r;
			renew = clock_ns(CLOCK_MONOTONIC) + WR_EVENT_RENEW_NS;
		}
		r = live_wait(dp_events_fd(events), wait_ms(deadline, renew), &m->cli->err);
		if (r < 0 || r == LIVE_END)
			return r < 0 ? r : 0;
		if (deadline && clock_ns(CLOCK_MONOTONIC) >= deadline)
			return 0;
		if (r != LIVE_INPUT)
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
		r = live_begin(&cli->err);
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
	live_end();
	dp_conntrack_close(&m.conntrack);
	service_rows_free(&m.services);
	remotes_free(&m.remotes);
	pods_free(&m.pods);
	for (size_t i = 0; i < EXPLAINED; i++)
		json_decref(m.explained[i].explanation);
	return r;
}
