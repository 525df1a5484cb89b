# SPDX-License-Identifier: BSD-2-Clause
"""The goal of each figure, defined here only. `evaluate()` writes it into the rows; a figure without a goal here has
none.
"""

import json
import re
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Goal:
    about: str
    rows: str  # a regular expression: all of a row's id
    limit: float
    at_least: bool = False  # instead of at most
    of_value: bool = False  # instead of the ratio to the baseline
    ahead_of: str = None  # a path that must be worse in the same run, if it was measured


AT_LEAST = {"at_least": True}
OF_VALUE = {"of_value": True}

SAME_NODE = "same node, policy and conntrack, against a veth pair"
TUNNEL = "tunnel against routed without a tunnel"
KEYED = "the same with a keyed tag"
SERVICE = "by a service's address against the pod's own"
FLOOD = "under a flood of denied packets of one pod"
OTHER_FLOODS = "under a flood of new flows of one pod"
PLUGIN = "the plugin against bridge"
POLICY = "policy"
CLUSTER = "5000 nodes"

GOALS = (
    Goal("from_pod on a hit, ns", r"prog\.bpf_(from_pod_to_pod_tcp|crr_local_hit_flows_1)_v4", 60, **OF_VALUE),
    Goal("from_pod on a hit, ns", r"prog\.bpf_(from_pod_to_pod_tcp|crr_local_hit_flows_1)_v6", 70, **OF_VALUE),
    Goal("from_pod with 65,536 flows live, against another release", r"prog\.flows_65536_v[46]\.from_pod", 1.00),
    Goal("from_pod averaged over a CRR connection, ns", r"prog\.crr_local_v[46]\.from_pod", 130, **OF_VALUE),
    Goal("from_pod with 100,000 policy entries against 100", r"prog\.bpf_from_pod_known_flow_policy_100000_v[46]", 1.02),
    Goal("from_pod with 100,000 policy entries against 100, new flow", r"prog\.bpf_from_pod_new_flow_policy_100000_v[46]", 1.25),
    Goal(SAME_NODE, r"net\.rr_p50\.v4\.warren-policy", 1.06),
    Goal(SAME_NODE, r"net\.crr_p50\.v4\.warren-policy", 1.12, ahead_of="bridge"),
    Goal(SAME_NODE, r"net\.udp\.v4\.warren-policy", 0.90, **AT_LEAST),
    Goal(SAME_NODE, r"net\.stream_gso_off\.v4\.warren-policy", 0.82, **AT_LEAST),
    Goal(TUNNEL, r"cross\.rr_p50\.v[46]\.tunnel", 1.00),
    Goal(TUNNEL, r"cross\.crr_p50\.v[46]\.tunnel", 1.10),
    Goal(TUNNEL, r"cross\.udp\.v[46]\.tunnel", 1.00, **AT_LEAST),
    Goal(TUNNEL, r"cross\.stream(_2_cpus)?\.v[46]\.tunnel", 0.98, **AT_LEAST),
    Goal(KEYED, r"cross\.rr_p50\.v[46]\.tunnel-keyed", 1.02),
    Goal(KEYED, r"cross\.crr_p50\.v[46]\.tunnel-keyed", 1.12),
    Goal(KEYED, r"cross\.udp\.v[46]\.tunnel-keyed", 0.98, **AT_LEAST),
    Goal(SERVICE, r"service(-cross)?\.rr_p50\.v[46]\.service", 1.02),
    Goal(SERVICE, r"service(-cross)?\.crr_p50\.v[46]\.service", 1.06),
    Goal(SERVICE + ", from the host", r"service-host\.rr_p50\.v[46]\.service", 1.00),
    Goal(SERVICE + ", from the host", r"service-host\.crr_p50\.v[46]\.service", 1.03),
    Goal(SERVICE + ", among 30,000", r"service-30000\.rr_p50\.v[46]\.service", 1.02),
    Goal(SERVICE + ", among 30,000", r"service-30000\.crr_p50\.v[46]\.service", 1.06),
    Goal("10,000 services with 10 backends, agent and maps, MB", r"service-scale\.memory", 60, **OF_VALUE),
    Goal("a service's change among 30,000, ms", r"service-scale\.change_p50", 5, **OF_VALUE),
    Goal("a service's change among 30,000, ms", r"service-scale\.change_p99", 50, **OF_VALUE),
    Goal("by a NodePort of another node against plain routing to the pod", r"nodeport\.rr_p50\.v[46]\.nodeport", 1.15),
    Goal("single frames (NIC-like), XDP, against routed", r"nic\.cost\.v[46]\.tunnel-xdp", 1.10, ahead_of="vxlan"),
    Goal("denied packets, XDP, against nftables", r"deny\.drop\.v[46]\.xdp-native", 3.0, **AT_LEAST),
    Goal(FLOOD + ", others' new connections lost", r"policy\.denied_v[46]_lost", 0, **OF_VALUE),
    Goal(FLOOD + ", others' packets", r"policy\.denied_v[46]", 0.90, **AT_LEAST),
    Goal(OTHER_FLOODS + ", others' packets", r"policy\.(flood|answered)_v[46]", 0.90, **AT_LEAST),
    Goal(OTHER_FLOODS + ", others' connections cut", r"policy\.(flood|answered)_v[46]_cut", 0, **OF_VALUE),
    Goal(POLICY + ": a full compile, ms", r"policy\.compile, .*", 200, **OF_VALUE),
    Goal(POLICY + ": a change, ms", r"policy\.change_p50", 5, **OF_VALUE),
    Goal(POLICY + ": a change, ms", r"policy\.change_p99", 20, **OF_VALUE),
    Goal(POLICY + ": the agent's memory, MB", r"policy\.agent_rss", 24, **OF_VALUE),
    Goal(CLUSTER + " against 2: the programs", r"prog\.bpf_(from_pod_to_node|from_uplink_to_pod)_(known|new)_flow_nodes_5000_v[46]", 1.05),
    Goal(CLUSTER + " against 2", r"nodes\.5000_(rr|crr)_p50\.v[46]", 1.05),
    Goal("a node joins, ms", r"nodes\.join(_max)?_v[46]", 50, **OF_VALUE),
    Goal(PLUGIN + ": ADD", r"cni\.add_p50\.warren", 0.40),
    Goal(PLUGIN + ": DEL", r"cni\.del_p50\.warren", 0.35),
    Goal(PLUGIN + ": DEL until the link is gone", r"cni\.del_gone_p50\.warren", 1.0),
    Goal("the plugin's memory, MB", r"cni\.rss_peak\.warren", 4.0, **OF_VALUE),
)

BESIDE = ("vxlan", "bridge", "tunnel-tc")  # what a goal's path is shown with, the first that was measured


def of(row_id, goals):
    return next((goal for goal in goals if re.fullmatch(goal.rows, row_id)), None)


def measured(goal, row):
    """None: the goal is a ratio, and this run has no baseline."""
    return row.value if goal.of_value else row.ratio


def rows_of(goal, rows):
    return [row for row in rows if re.fullmatch(goal.rows, row.id) and measured(goal, row) is not None]


def sibling(rows, row, path):
    """The ratio of another path's row of the same figure."""
    name = f"{row.id.rpartition('.')[0]}.{path}"
    return next((other.ratio for other in rows if other.id == name), None)


def evaluate(rows, goals=GOALS):
    """Writes into the rows their goals, and whether they are met."""
    for row in rows:
        goal = of(row.id, goals)
        value = goal and measured(goal, row)
        if value is None:
            continue
        rival = goal.ahead_of and sibling(rows, row, goal.ahead_of)
        better = (lambda a, b: a >= b) if goal.at_least else (lambda a, b: a <= b)
        row.goal, row.met = goal.limit, better(value, goal.limit) and (rival is None or better(value, rival))


def results(rows, goals=GOALS):
    """A dictionary for each row with a goal, in their order."""
    found = []
    for goal in goals:
        for row in rows_of(goal, rows):
            known = ((path, sibling(rows, row, path)) for path in BESIDE if not goal.of_value)
            beside = next(((path, ratio) for path, ratio in known if ratio is not None), (None, None))
            found.append({**asdict(goal), "row": row.id, "measured": measured(goal, row), "unit": row.unit,
                          "beside": beside[0], "beside_ratio": beside[1], "met": row.met})
    return found


def missing(rows, goals=GOALS):
    """Those for which nothing was measured."""
    return [goal for goal in goals if not rows_of(goal, rows)]


def table(rows, goals=GOALS):
    """Goal, measured, met: one line a row, under what it is about."""
    found, about = results(rows, goals), None
    width = max((len(one["row"]) for one in found), default=4)
    line = f"  {{:{width}}} {{:>9}} {{:>9}} {{:>16}}  {{}}"
    print("\n" + line.format("goal", "is to be", "measured", "beside", "").rstrip())
    for one in found:
        if one["about"] != about:
            about = one["about"]
            print(about)
        beside = f"{one['beside']} {one['beside_ratio']:.3f}" if one["beside"] else ""
        verdict = "met" if one["met"] else "NOT MET"
        print(line.format(one["row"], f"{'>=' if one['at_least'] else '<='} {one['limit']:.2f}", f"{one['measured']:.3f}", beside, verdict))
    met = sum(one["met"] for one in found)
    print(f"{met} of {len(found)} rows meet their goals; {len(missing(rows, goals))} of {len(goals)} goals were not measured")


def save(rows, path):
    """As table(): what is measured, and what is not."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"rows": results(rows), "not_measured": [goal.rows for goal in missing(rows)]}, file, indent=1)
        file.write("\n")
