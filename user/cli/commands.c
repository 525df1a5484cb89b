/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of commands. */
#include "cli.h"
#include "node.h"
#include "ping.h"

/* The offset of the member; does not compile unless the member has the type that the parser writes. */
#define FIELD(member, type)                                                                                            \
	(offsetof(struct cli_options, member) +                                                                        \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct cli_options *)0)->member), type) ? 1 : -1]))
#define NUMBER_AS(option, what, as, member, lowest, highest, comp, text)                                               \
	{ option, what, as, FIELD(member, int64_t), lowest, highest, comp, text }
#define NUMBER(option, what, member, lowest, highest, text)                                                            \
	NUMBER_AS(option, what, OPTION_NUMBER, member, lowest, highest, COMPLETE_NOTHING, text)
#define FLAG(option, member, text) { option, NULL, OPTION_FLAG, FIELD(member, bool), 0, 0, COMPLETE_NOTHING, text }
#define TEXT(option, what, member, comp, text)                                                                         \
	{ option, what, OPTION_TEXT, FIELD(member, const char *), 0, 0, comp, text }

/* Options and arguments of several commands. */
#define ENDPOINT(text) NUMBER_AS("endpoint", "ID", OPTION_NUMBER, endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, text)
#define FAMILY(text) NUMBER_AS("family", "N", OPTION_FAMILY, family, 4, 6, COMPLETE_NOTHING, text)
#define FAMILY_OF_FLOW FAMILY("4 or 6 (default: the first family that both sides have)")
#define FLOW { { "SRC", false, COMPLETE_POD }, { "DST[:PORT/PROTO]", false, COMPLETE_POD } }
#define FLOWS_FROM TEXT("from", "WORKLOAD", from, COMPLETE_PLACE, "only flows that it has initiated")
#define FLOWS_TO TEXT("to", "WORKLOAD", to, COMPLETE_PLACE, "only flows that were initiated with it")
#define FLOWS_NAMESPACE TEXT("namespace", "NAME", namespace, COMPLETE_NOTHING, "only flows with an end in this namespace")
#define FLOWS_VERDICT TEXT("verdict", "allowed|denied", verdict, COMPLETE_VERDICT, "only flows with this verdict")

const struct command warren_commands[] = {
	{ "status", cmd_status, "Check this node, and show problems with their remedies",
	  .options = { FLAG("cluster", cluster, "check all nodes of the cluster, as this node sees them") } },
	{ "node init", cmd_node_init, "Load the programs, or replace those of another release without a gap",
	  .options = {
		NUMBER("max-endpoints", "N", max_endpoints, 1, WR_MAX_ENDPOINTS, 
		       "maximum number of pods (default and limit: 4096; only while nothing is loaded)"),
		NUMBER("mark-shift", "N", mark_shift, 0, 29,
		       "lowest of the three packet mark bits to use (default 24)"),
		NUMBER_AS("ct-entries", "N", OPTION_AUTO, ct_entries, NODE_CT_ENTRIES_MIN, NODE_CT_ENTRIES_MAX, COMPLETE_NOTHING,
		     "maximum number of established flows per family, or auto (default): by the size of memory"
		     " (only while nothing is loaded)"),
		TEXT("cgroup", "DIR", cgroup, COMPLETE_NOTHING,
		     "services for the host's own processes: the root of their cgroups (v2), or off (default: as attached,"
		     " else /sys/fs/cgroup)"),
		FLAG("reload", reload, "load the programs again, even if they are of this release"),
	  } },
	{ "node show", cmd_node_show, "Show what is loaded, and its settings" },
	{ "node down", cmd_node_down, "Unload everything",
	  .options = { FLAG("force", force, "even with pods: delete their links") } },
	{ "node list", cmd_node_list, "List the nodes of the cluster with addresses, path, and packet counts" },
	{ "node get", cmd_node_get, "Show one node in detail", .args = { { "NODE", false, COMPLETE_NODE } } },
	{ "node ping", cmd_node_ping, "Ping other nodes along the path of pod traffic",
	  .args = { { "NODE", true, COMPLETE_NODE, .many = true } },
	  .options = {
		NUMBER("count", "N", count, 1, PING_COUNT_MAX, "echo requests to each address (default 5)"),
		NUMBER("interval", "MS", interval, 0, 60000, "time between requests (default 200)"),
		NUMBER("timeout", "MS", timeout, 1, 60000, "time to wait for a reply (default 1000)"),
		FAMILY("4 or 6 (default: both)"),
	  } },
	{ "endpoint list", cmd_endpoint_list, "List the endpoints: pods of this node in the data path" },
	{ "endpoint get", cmd_endpoint_get, "Show one endpoint in detail",
	  .args = { { "ID", false, COMPLETE_ENDPOINT } } },
	{ "identity list", cmd_identity_list, "List the identities: label sets of pods, and how many pods have them" },
	{ "identity get", cmd_identity_get, "Show one identity: labels, named ports, matching selectors, pods",
	  .args = { { "ID", false, COMPLETE_IDENTITY } } },
	{ "ipcache list", cmd_ipcache_list, "List the addresses of other nodes and of their pods, with identities" },
	{ "ipcache get", cmd_ipcache_get, "Show which pod or node has an address", .args = { { "IP" } } },
	{ "policy list", cmd_policy_list, "List the policies, the pods they isolate, and their map entries" },
	{ "policy get", cmd_policy_get, "Show one policy: what it selects, and its rules in the maps",
	  .args = { { "NAMESPACE/NAME", false, COMPLETE_POLICY } } },
	{ "policy why", cmd_policy_why, "Evaluate whether SRC may reach DST, and show the rules", .args = FLOW,
	  .options = { FAMILY_OF_FLOW } },
	{ "service list", cmd_service_list, "List the frontends of Services, and how many backends each has",
	  .options = { TEXT("namespace", "NAME", namespace, COMPLETE_NOTHING, "only of this namespace") } },
	{ "service get", cmd_service_get, "Show the frontends and backends of a Service",
	  .args = { { "NAMESPACE/NAME|ADDRESS[:PORT]", false, COMPLETE_SERVICE } } },
	{ "service hostports", cmd_service_hostports, "List the ports of this host that lead to pods (hostPort)" },
	{ "service sockets", cmd_service_sockets, "List the host's own sockets that use Services, and their backends" },
	{ "service takeover", cmd_service_takeover,
	  "Take the Services over from kube-proxy; once that is gone, remove its rules" },
	{ "service release", cmd_service_release, "Leave the Services to kube-proxy; connections in progress go on",
	  .options = { FLAG("force", force, "even if kube-proxy has no rules on this node") } },
	{ "trace", cmd_trace, "Run a synthetic packet through the programs, without side effects, and show each step",
	  .args = FLOW,
	  .options = {
		FAMILY_OF_FLOW,
		NUMBER("sport", "PORT", sport, 1, UINT16_MAX, "source port, or the id of an echo (default 40000)"),
		TEXT("flags", "LIST", flags, COMPLETE_NOTHING, "TCP flags, as in syn,ack (default syn)"),
		TEXT("from-node", "NODE", from_node, COMPLETE_NODE, "send it from NODE, through the tunnel"),
		TEXT("identity", "ID", identity, COMPLETE_IDENTITY,
		     "identity of SRC that a packet from another node carries"),
	  } },
	{ "ct list", cmd_ct_list, "List the flows: initiator, state, rules",
	  .options = {
		ENDPOINT("only flows of this endpoint"),
		FLAG("dead", dead, "also expired flows that are not removed yet"),
	  } },
	{ "ct get", cmd_ct_get, "Show the flows that SRC has initiated with DST", .args = FLOW },
	{ "ct flush", cmd_ct_flush, "End flows: their next packet is evaluated as the first of a flow",
	  .options = { ENDPOINT("only flows of this endpoint") } },
	{ "ct stats", cmd_ct_stats, "Show the usage of the flow tables, and counters of flows" },
	{ "flows list", cmd_flows_list, "Count the flows of each two workloads: who talks to whom, and by which rule",
	  .options = {
		FLAG("follow", follow, "print rows that appear, or appear with the other verdict, until interrupted"),
		NUMBER("interval", "SECONDS", interval, 1, 3600, "with --follow: time between two readings (default 2)"),
		FLAG("addresses", addresses, "show the addresses of the world one by one"),
		FLOWS_FROM, FLOWS_TO, FLOWS_NAMESPACE, FLOWS_VERDICT,
	  },
	  .is_default = true },
	{ "flows top", cmd_flows_top, "Show the rows of `flows list` that have the most flows",
	  .options = {
		NUMBER("count", "N", count, 1, INT64_MAX, "how many rows (default 10)"),
		FLAG("addresses", addresses, "show the addresses of the world one by one"),
		FLOWS_FROM, FLOWS_TO, FLOWS_NAMESPACE, FLOWS_VERDICT,
	  } },
	{ "deny add", cmd_deny_add, "Drop all packets from these prefixes or addresses",
	  .args = { { "PREFIX", .many = true } },
	  .options = { FLAG("force", force, "also addresses that this node depends on") } },
	{ "deny del", cmd_deny_del, "Remove prefixes from the denylist", .args = { { "PREFIX", .many = true } } },
	{ "deny list", cmd_deny_list, "List the denied prefixes, their hits, and where they are enforced" },
	{ "deny flush", cmd_deny_flush, "Empty the denylist" },
	{ "uplink list", cmd_uplink_list, "List the uplinks and their programs" },
	{ "uplink xdp", cmd_uplink_xdp, "Set the mode of XDP on a device",
	  .args = { { "DEVICE" }, { "auto|native|generic|off" } } },
	{ "map list", cmd_map_list, "List the pinned maps, with their sizes" },
	{ "map dump", cmd_map_dump, "Print every entry of a map, decoded", .args = { { "NAME", false, COMPLETE_MAP } },
	  .options = {
		FLAG("raw", raw, "print bytes in hex"),
		FLAG("btf", btf, "print by the kernel's type information (BTF)"),
		FLAG("all", all, "also entries of an array that are zero"),
	  } },
	{ "map get", cmd_map_get, "Print one entry of a map, decoded",
	  .args = { { "NAME", false, COMPLETE_MAP }, { "KEY" } },
	  .options = {
		FLAG("raw", raw, "print bytes in hex; KEY is bytes in hex too"),
		FLAG("btf", btf, "print by the kernel's type information (BTF)"),
	  } },
	{ "metrics", cmd_metrics, "Print the numbers of passed and dropped packets by reason",
	  .options = { FLAG("all", all, "also counters that are zero") } },
	{ "monitor", cmd_monitor, "Print dropped packets and new flows as they happen, and by which rule",
	  .options = {
		FLAG("drops", drops, "only dropped packets"),
		FLAG("allows", allows, "only allowed flows"),
		ENDPOINT("only events of this endpoint"),
		TEXT("reason", "NAME", reason, COMPLETE_REASON, "only events with this reason"),
		NUMBER("count", "N", count, 1, INT64_MAX, "stop after this many events"),
		NUMBER("timeout", "SECONDS", timeout, 1, 1000000, "stop after this many seconds"),
	  },
	  .stream = true },
	{ "sysdump", cmd_sysdump, "Collect the state of this node in one archive, for debugging",
	  .options = { TEXT("output", "FILE", output, COMPLETE_NOTHING, "file name; - is standard output") } },
	{ "completion bash", cmd_completion_bash, "Print the completion script for bash" },
	{ "version", cmd_version, "Print the release and its ABI version" },
	{ "help", cmd_help, "List the commands, or show one with its options",
	  .args = { { "COMMAND", true, COMPLETE_COMMAND }, { "SUBCOMMAND", true, COMPLETE_NOTHING } } },
	{ 0 },
};
