/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's socket, WARREN_AGENT_SOCKET (root only): one request and one reply per connection, each a JSON object and
 * a newline.
 *
 *   {"method": "endpoint", "container": ..., "ifname": ..., "wait_ms": N}
 *        {} once the policy of that attachment's endpoint is enforced, or {"error": ...} after N ms
 *   {"method": "identities"}                 {"identities": [...]}
 *   {"method": "policies"}                   {"policies": [...]}
 *   {"method": "nodes"}                      {"nodes": [...]}
 *   {"method": "pods"}                       {"pods": [...]}
 *   {"method": "services"}                   {"services": [...]}
 *   {"method": "service", "namespace": ..., "name": ...}
 *                                            {"service": [...], "truncated": bool}: its endpoints
 *   {"method": "explain", "class": N, "direction": "egress" or "ingress", "endpoint": ifindex, "identity": of the peer,
 *    "addresses": [of the peer], "protocol": N, "port": of the responder}
 *                                            {"explanation": {...} or null: the class is unknown}
 *   {"method": "status"}                     {"version": ..., "synced": bool, "problems": [...], ...}
 *   {"method": "services_take"}              {}: the agent begins to program the Services
 *   {"method": "services_release"}           {}: it begins to leave them to another service proxy
 *
 * A reply is the result, or {"error": {"errno": N, "message": TEXT, "hint": TEXT}}. 64-bit numbers are strings
 * ("0x1f").
 *
 * identities: [{identity, namespace, namespace_labels: {} or null, labels: {}, ports: [{name, protocol, port}],
 *     peer_class (null: none), pods, collision, endpoints: [ifindex], selectors: [text]}]
 * policies: [{namespace, name, invalid: text or null, selector: text ("": all pods), isolates: ["egress", "ingress"],
 *     rules: {egress, ingress: [{peers: [{block, except: []} or {namespaces, pods: text or null}],
 *     ports: [{protocol, port: number, name or null, end_port}]}]},
 *     endpoints: [ifindex], entries, classes: [{key, class (number in the maps; 0: none), denied}]}]
 * nodes: [{name, slot (0: in no map), own, cidrs: [], addresses: [], local, remote, uplink (ifindex), mtu,
 *     mode: "tunnel" or "direct", resolved, dmac (of the last neighbour entry), problem: text or null, agent: the state
 *     that its agent reports, or null}]; `local` to `dmac` are null for our own node and for a node in no map
 * pods: [{namespace, name, identity, addresses: []}] of other nodes
 * services: [{namespace, name, type: "ClusterIP" ..., address, port, protocol, port_name ("": none), node_port (0: none),
 *     scope: "cluster" or "external", backends, local (they are this node's endpoints), written (is in the maps),
 *     owner: "namespace/name" of another Service that has the address and port, or null, problem: text or null,
 *     health: {port, status (200 or 503), endpoints, problem: text or null}, if it has a health check port}] one for each address and port of each Service
 * service: [{port_name, protocol, family, local (of the frontends), address, port, state: "ready", "terminating" or
 *     "not ready", unused: why it is no backend there, or null}] and truncated: there are more
 * explanation: {quarantine: text or null (class 0; nothing else then), problem: text or null, policies (how many isolate),
 *     isolated_by: [{policy, invalid, problem: text or null}] (the first ones), rules (how many), matches: {allows,
 *     wrong_port, wrong_protocol, wrong_peer}, nearest: [{rule, match}], change: {obstacle: text or null; else policy (null:
 *     a new one), peer_namespace (null: no pod), rule, manifest (of the new policy) as in Kubernetes objects}}
 * status: {version, pid, rss_bytes, synced, enforced (at least once), pending (a change is not yet enforced),
 *     revision, changes, compile_us, apply_us (the last ones), classes_denied,
 *     identities_not_programmed, failure: text or null (the last error of writing the maps),
 *     counts: {the fields of struct policy_counts},
 *     problems: [{kind: "manifest", "api", "node" or "agent", file (or another subject), message}],
 *     endpoints: [{ifindex, container, ifname, namespace, name, uid, identity, class, revision, state}],
 *     state: "enforced", "not isolated", "quarantine" (no labels), "denied" (no room), "missing" (not in the maps) or
 *     "pending";
 *     cluster: {member, node, mode: "tunnel", "direct" or "auto", nodes, in_maps, unresolved, pod_mtu, addresses, tunnel_key: {mode, keys: [ID...]},
 *     failure: text or null},
 *     services: {services, slices, addresses (with their ports, in the maps), backends (there), problems,
 *     failures (of writing), released (to another service proxy), pending (a change is not yet in the maps)},
 *     kubernetes: null, or {server, key: {state, ...}, waits_for: text or null, configuration: {path, written, cidrs: []},
 *     node: {name, reported}, pods: "all" or "own", watches: [{kind, objects, synced, connected, problem: text or null, ...}]}}
 */
#ifndef WARREN_AGENT_SOCKET_H
#define WARREN_AGENT_SOCKET_H

#include <jansson.h>

#include "err.h"

#define AGENT_MESSAGE_MAX (16 << 10) /* bytes of a request */
#define AGENT_ANSWER_MAX (256 << 20) /* bytes of a reply */

/*
 * Sends the request, whose reference it takes, and waits for the reply. -ECONNREFUSED: no agent runs (with a hint);
 * -ETIMEDOUT; the agent's own error with its errno. On error *answer is NULL.
 */
int agent_request(json_t *request, int timeout_ms, json_t **answer, struct err *err);

#endif
