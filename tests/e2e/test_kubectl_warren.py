# SPDX-License-Identifier: BSD-2-Clause
"""The plugin `kubectl warren`: which agents it asks for what. Without a cluster: kubectl is a script that answers for one."""

import json
import subprocess
import sys

import pytest

from lab import REPO

PLUGIN = REPO / "packaging/kubectl-warren"
CLUSTER = {
    "agents": {"warren-a": "a", "warren-b": "b"},
    "pods": {
        "shop/web": ["a", "10.1.0.2 fd00:1::2"],
        "shop/db": ["b", "10.2.0.3 fd00:2::3"],
        "shop/api": ["a", "10.1.0.4"],
        "default/tool": ["b", "10.2.0.5"],
        "shop/lost": ["c", "10.3.0.1"],  # a node without an agent
    },
    "fails": {},
}

KUBECTL = '''
import json, os, sys
here = os.path.dirname(__file__)
cluster = json.load(open(here + "/cluster.json"))
options, words, args, command = {}, [], sys.argv[1:], []
while args:
    word = args.pop(0)
    if word == "--":
        command, args = args, []
    elif word == "--ignore-not-found":
        pass
    elif word.startswith("--"):
        key, equals, value = word.partition("=")
        options[key] = value if equals else args.pop(0)
    else:
        words.append(word)
with open(here + "/log", "a") as log:
    log.write(json.dumps([words, options, command]) + "\\n")
if words == ["get", "pods"]:
    assert options["--selector"] == "app.kubernetes.io/name=warren"
    fields = dict(f.split("=") for f in options["--field-selector"].split(","))
    assert fields["status.phase"] == "Running"
    for agent, node in cluster["agents"].items():
        if fields.get("spec.nodeName", node) == node:
            print(agent, node)
elif words[:2] == ["get", "pod"]:
    name = options.get("--namespace", "default") + "/" + words[2]
    if name in cluster["pods"]:
        print(name, *cluster["pods"][name], end="")
elif words[0] == "exec" and command[:3] == ["warren", "endpoint", "list"]:
    print("ID  POD  DEVICE\\n4   shop/web  wr4\\n17  shop/api  wr17")
elif words[0] == "exec":
    print(words[1] + ":", *command)
    sys.exit(cluster["fails"].get(words[1], 0))
'''


@pytest.fixture
def kubectl(tmp_path):
    """Runs the plugin: (its output, its errors, its exit status), and .log: the calls of kubectl."""

    def run(*args, fails=None, path=None):
        (tmp_path / "cluster.json").write_text(json.dumps({**CLUSTER, "fails": fails or {}}))
        (tmp_path / "log").write_text("")
        done = subprocess.run([PLUGIN, *args], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, timeout=30)
        run.log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        return done.stdout, done.stderr, done.returncode

    script = tmp_path / "kubectl"
    script.write_text(f"#!{sys.executable}\n{KUBECTL}")
    script.chmod(0o755)
    return run


# The arguments; what runs, by agent; and whether each node is named.
RUNS = [
    # A pod of another node is given by its address, of the family in question.
    (
        "why shop/web shop/db:5432/tcp",
        ["warren-a: warren policy why shop/web 10.2.0.3:5432/tcp", "warren-b: warren policy why 10.1.0.2 shop/db:5432/tcp"],
        True,
    ),
    (
        "why shop/web shop/db:5432/tcp --family 6 --json",
        [
            "warren-a: warren policy why shop/web [fd00:2::3]:5432/tcp --family 6 --json",
            "warren-b: warren policy why fd00:1::2 shop/db:5432/tcp --family 6 --json",
        ],
        True,
    ),
    ("why shop/web shop/api:80/tcp", ["warren-a: warren policy why shop/web shop/api:80/tcp"], False),
    ("why tool host", ["warren-b: warren policy why default/tool host"], False),
    ("-n shop why web 192.0.2.1:icmp", ["warren-a: warren policy why shop/web 192.0.2.1:icmp"], False),
    ("--namespace=shop why [2001:db8::1]:7 web:80", ["warren-a: warren policy why [2001:db8::1]:7 shop/web:80"], False),
    ("trace world shop/db:80/tcp --flags ack", ["warren-b: warren trace world shop/db:80/tcp --flags ack"], False),
    ("trace b shop/web:80/tcp", ["warren-a: warren trace b shop/web:80/tcp"], False),
    ("status", ["warren-a: warren status", "warren-b: warren status"], True),
    ("status b --json", ["warren-b: warren status --json"], True),
    ("flows", ["warren-a: warren flows list", "warren-b: warren flows list"], True),
    ("flows b --from shop/web --json", ["warren-b: warren flows list --from shop/web --json"], True),
    ("flows list a", ["warren-a: warren flows list"], True),
    ("flows top a b --count 3", ["warren-a: warren flows top --count 3", "warren-b: warren flows top --count 3"], True),
    ("node b -- ct list --json", ["warren-b: warren ct list --json"], False),
    ("monitor a --drops", ["warren-a: warren monitor --drops"], False),
    ("monitor shop/api --json", ["warren-a: warren monitor --endpoint 17 --json"], False),
]


@pytest.mark.parametrize("args, expected, named", RUNS, ids=[run[0] for run in RUNS])
def test_runs_at_the_right_agents(kubectl, args, expected, named):
    out, err, code = kubectl(*args.split())
    assert (out.splitlines(), code) == (expected, 0), err
    assert err.splitlines() == ([f"node {line[7]}:" for line in expected] if named else [])
    assert all(options["--namespace"] == "kube-system" for words, options, _ in kubectl.log if words[0] == "exec")


def test_monitor_of_all_nodes_begins_each_line_with_the_node(kubectl):
    out, _, code = kubectl("monitor", "--count", "1")
    assert sorted(out.splitlines()) == ["a  warren-a: warren monitor --count 1", "b  warren-b: warren monitor --count 1"]
    assert code == 0


@pytest.mark.parametrize("nodes, expected", [("", "ab"), ("b", "b"), ("list a b", "ab")])
def test_flows_that_are_followed_begin_with_their_node(kubectl, nodes, expected):
    out, _, code = kubectl("flows", *nodes.split(), "--to", "world", "--follow")
    assert sorted(out.splitlines()) == [f"{n}  warren-{n}: warren flows list --to world --follow" for n in expected]
    assert code == 0


def test_options_of_kubectl_reach_every_call(kubectl):
    out, _, _ = kubectl("--context", "prod", "--as=me", "--agents", "net", "why", "shop/web", "host")
    assert out == "warren-a: warren policy why shop/web host\n"
    assert len(kubectl.log) == 3
    for words, options, _ in kubectl.log:
        assert (options["--context"], options["--as"]) == ("prod", "me")
        assert options["--namespace"] == ("shop" if words[1] == "pod" else "net")


def test_the_exit_status_is_the_highest(kubectl):
    assert kubectl("status", fails={"warren-a": 3})[2] == 3
    assert kubectl("status", fails={"warren-a": 1, "warren-b": 3})[2] == 3
    assert kubectl("why", "shop/web", "shop/db", fails={"warren-b": 1})[2] == 1


@pytest.mark.parametrize(
    "args, code, message",
    [
        ("", 2, "the command is missing"),
        ("ct", 2, "there is no command 'ct'"),
        ("flows c", 1, "no agent runs on node c (namespace kube-system)"),
        ("flows c --follow", 1, "no agent runs on node c (namespace kube-system)"),
        ("why shop/web", 2, "SRC and DST are missing"),
        ("why --json shop/web", 2, "'--json' is neither a pod nor an address"),
        ("why shop/none host", 1, "there is no pod shop/none"),
        ("why a/b/c host", 2, "'a/b/c' is not a pod: NAMESPACE/NAME"),
        ("why host world:80", 1, "neither host nor world:80 is a pod: use `kubectl warren node NODE -- policy why host world:80`"),
        ("why shop/lost host", 1, "no agent runs on node c (namespace kube-system)"),
        ("why shop/api shop/db --family 6", 1, "shop/api has no address of that family"),
        ("monitor shop/db", 1, "shop/db has no endpoint on node b"),
        ("node a ct list", 2, "node takes NODE -- COMMAND"),
        ("status c", 1, "no agent runs on node c"),
        ("-n", 2, "-n requires a value"),
    ],
)
def test_errors(kubectl, args, code, message):
    _, err, status = kubectl(*args.split())
    assert status == code and f"kubectl warren: {message}" in err


def test_help(kubectl):
    for args in (["--help"], ["-h"], ["help"]):
        out, err, code = kubectl(*args)
        assert (err, code) == ("", 0) and out.startswith("usage: kubectl warren")
        assert kubectl.log == []
