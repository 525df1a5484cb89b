# SPDX-License-Identifier: BSD-2-Clause
"""Pods under policy and probes between them, of one node (Cluster) or several (overlay.py)."""

import contextlib
import itertools
import json

from agent import Agent
from connect import fence
from lab import NODE_GATEWAY, Lab, network
from manifests import namespace, pod_file, pod_object, split
from netns import COMMAND
from probes import SERVICES, Flow, Prober
from seed import drawn

# What many tests begin with.
NAMESPACES = [namespace("front", team="red"), namespace("back", team="blue")]
CLIENT, SERVER = "front/client", "back/server"
LABELS = {CLIENT: {"app": "client"}, SERVER: {"app": "server"}}


class Probed:
    """Pods with their manifests, and probes between them and all others. A class that inherits it has

    - nodes: {name: Node}, whose events report drops;
    - write(name, *objects) and unlink(name): a manifest, noted in `manifests`; wait_applied(): until all that is enforced;
    - sides(): (name, network namespace, {family: address}) of every other endpoint.
    """

    def __init__(self):
        self.pods, self.manifests, self._prober = {}, {}, None

    def apply(self, name, *objects, **where):
        """Renames a manifest into place, and waits until it is enforced."""
        self.write(name, *objects, **where)
        self.wait_applied()

    def remove(self, *names):
        for name in names:
            self.unlink(name)
        self.wait_applied()

    def add_pod(self, node, name, conf, chain=(), runtime=None, uid=None):
        namespace, short = split(name)
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={short}" + (f";K8S_POD_UID={uid}" if uid else "")
        self.pods[name] = node.pod(short, [conf, *chain] if chain else conf, args=args, runtime=runtime)
        return self.pods[name]

    def delete(self, name):
        """The pod; and its manifest, if it has one."""
        if self._prober and name in self._prober.sides:
            self._prober.remove(name)
        self.pods.pop(name).delete()
        if pod_file(name) in self.manifests:
            self.remove(pod_file(name))

    @property
    def prober(self):
        """With all there are."""
        if not self._prober:
            self._prober = Prober(*self.nodes.values())
        for name, netns, addresses in (*self.sides(), *((name, pod, pod.ips) for name, pod in self.pods.items())):
            if name not in self._prober.sides:
                self._prober.add(name, netns, addresses)
        return self._prober

    def end_probes(self):
        """Frees the events, which have one reader."""
        if self._prober:
            self._prober.close()
            self._prober = None

    def flows(self, services=SERVICES):
        """Every probe there is: pods with pods and with all other endpoints."""
        others = [name for name in self.prober.sides if name not in self.pods]
        pairs = [*itertools.permutations(self.pods, 2)]
        pairs += [pair for name in self.pods for other in others for pair in ((name, other), (other, name))]
        for (src, dst), family, service in itertools.product(pairs, (4, 6), services):
            # This kernel's masquerading does not know SCTP.
            if not (service.startswith("sctp") and self.is_masqueraded(src, dst)):
                yield Flow(src, dst, family, service)

    def check(self, expectation, flows=None):
        """Every flow by real packets; fails with every one that differs from what is expected. Returns {flow: Outcome}."""
        return self.prober.check(expectation, flows if flows is not None else self.flows())


class Cluster(Probed):
    """A lab with an agent; pods and policies come by its methods. `init`: options of `node init`, else the agent makes
    the node.
    """

    def __init__(self, *objects, init=(), options=()):
        super().__init__()
        self.lab = Lab()
        self.node, self.world = self.lab.node, self.lab.world
        self.nodes = {"node": self.node}
        try:
            if init:
                self.node.warren("node", "init", *init)
            self.agent = Agent(self.node, *options)
        except BaseException:
            self.lab.__exit__()
            raise
        if objects:
            self.apply("cluster", *objects)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_probes()
        self.agent.close()
        self.lab.__exit__()

    def write(self, name, *objects):
        self.agent.write(f"{name}.json", *objects)
        self.manifests[name] = objects

    def unlink(self, name):
        self.agent.remove(f"{name}.json")
        del self.manifests[name]

    def wait_applied(self):
        self.agent.wait_applied()

    def pod(self, name, labels=None, ports=(), uid=None, manifest=True, chain=(), runtime=None, policy="agent", **conf):
        """A pod and its manifest. `conf`: of the network."""
        if manifest:
            self.write(pod_file(name), pod_object(name, labels, ports, uid))
        return self.add_pod(self.node, name, network(policy=policy, **conf), chain, runtime, uid)

    def sides(self):
        yield "world", self.world, Lab.WORLD
        yield "beyond", self.world, Lab.BEYOND
        if self.pods:
            yield "host", self.node, NODE_GATEWAY

    @staticmethod
    def fence(client, family):
        fence(client, family)

    @staticmethod
    def is_masqueraded(src, dst):
        return dst in ("world", "beyond")

    @contextlib.contextmanager
    def as_before(self):
        """Afterwards there are the pods and manifests of before and no others, an agent, and no reader of events."""
        pods, manifests = set(self.pods), dict(self.manifests)
        yield
        self.end_probes()
        if not self.agent.proc:
            self.agent.start()
        for name in self.pods.keys() - pods:
            self.delete(name)
        for name, objects in manifests.items():
            if self.manifests.get(name) != objects:
                self.write(name, *objects)
        self.remove(*(self.manifests.keys() - manifests.keys()))

    # --- the independent check: `warren trace`, `warren policy why` ---

    def address_of(self, name, family):
        if name in self.pods:
            return name
        return {"host": NODE_GATEWAY, "world": Lab.WORLD, "beyond": Lab.BEYOND}[name][family]

    def words(self, flow):
        src, dst = (self.address_of(name, flow.family) for name in (flow.src, flow.dst))
        dst = f"[{dst}]" if dst.count(":") > 1 else dst
        service = f"{flow.port}/{flow.protocol}" if flow.port else flow.protocol
        return [src, f"{dst}:{service}", "--family", str(flow.family)]

    def ask(self, command, flows):
        """[answer] of `warren <command> SRC DST` for each flow, by one shell in the node."""
        commands = [" ".join(["warren", command, *self.words(flow), "--json"]) for flow in flows]
        lines = [f"{command} || echo null; echo ," for command in commands]
        out = self.node.run("sh", "-c", "\n".join(["echo [", *lines, "echo null ]"]), timeout=COMMAND + len(flows)).stdout
        return json.loads(out)[:-1]

    def agree(self, outcomes, count=None):
        """`trace` and `policy why` print for a sample of these flows the verdicts that the traffic found."""
        flows = sorted(outcomes)
        if count and count < len(flows):
            kinds = [[f for f in flows if outcomes[f].passed is passed] for passed in (True, False)]
            draw = drawn()
            flows = [f for kind in kinds for f in draw.sample(kind, min(count // 2, len(kind)))]
        wrong = []
        for command in ("trace", "policy why"):
            asked = [f for f in flows if command == "trace" or {f.src, f.dst} & set(self.pods)]
            for flow, answer in zip(asked, self.ask(command, asked)):
                if not answer or (answer["verdict"] in ("allowed", "pass")) != outcomes[flow].passed:
                    wrong.append(f"{command}: {flow}: {outcomes[flow]}, said {json.dumps(answer)}")
        assert not wrong, "\n".join(wrong)
