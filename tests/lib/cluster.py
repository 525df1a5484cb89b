# SPDX-License-Identifier: BSD-2-Clause
"""A node with an agent and pods under policy."""

import itertools
import json
import random

from agent import Agent
from lab import NODE_GATEWAY, Lab, network
from manifests import pod_object, split
from probes import SERVICES, Flow, Prober


class Cluster:
    """A lab with an agent; pods and policies come as asked."""

    def __init__(self, *objects, init=(), options=()):
        self.lab = Lab()
        self.node, self.world = self.lab.node, self.lab.world
        self.pods = {}
        self.files = set()
        self._prober = None
        try:
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

    def apply(self, name, *objects):
        """Renames a manifest into place, and waits until it is in force."""
        self.write(name, *objects)
        self.agent.wait_applied()

    def write(self, name, *objects):
        self.agent.write(f"{name}.json", *objects)
        self.files.add(name)

    def unlink(self, name):
        self.agent.remove(f"{name}.json")
        self.files.discard(name)

    def remove(self, *names):
        for name in names:
            self.unlink(name)
        self.agent.wait_applied()

    def pod(self, name, labels=None, ports=(), uid=None, manifest=True, **conf):
        """A pod and its manifest. `conf`: of the network."""
        namespace, short = split(name)
        if manifest:
            self.write(f"pod-{namespace}-{short}", pod_object(name, labels, ports, uid))
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={short}"
        if uid:
            args += f";K8S_POD_UID={uid}"
        chain = conf.pop("chain", [])
        runtime = conf.pop("runtime", None)
        first = network(policy=conf.pop("policy", "agent"), **conf)
        self.pods[name] = self.node.pod(short, [first, *chain] if chain else first, args=args, runtime=runtime)
        return self.pods[name]

    def delete(self, name):
        """The pod; and its manifest, if it has one."""
        if self._prober and name in self._prober.sides:
            self._prober.remove(name)
        self.pods.pop(name).delete()
        file = "pod-{}-{}".format(*split(name))
        if file in self.files:
            self.remove(file)

    def end_probes(self):
        """Frees the events, which have one reader."""
        if self._prober:
            self._prober.close()
            self._prober = None

    @property
    def prober(self):
        """With all pods that there are, the host and the world."""
        if not self._prober:
            self._prober = Prober(self.node)
            self._prober.add("world", self.world, Lab.WORLD)
            self._prober.add("beyond", self.world, Lab.BEYOND)
        sides = self._prober.sides
        for name, pod in self.pods.items():
            if name not in sides:
                self._prober.add(name, pod, pod.ips)
        if self.pods and "host" not in sides:
            self._prober.add("host", self.node, NODE_GATEWAY)
        return self._prober

    def flows(self, services=SERVICES):
        """Every probe there is: pods with pods, with the host, with the world."""
        names, others = list(self.pods), ("host", "world", "beyond")
        pairs = [*itertools.permutations(names, 2)]
        pairs += [pair for name in names for other in others for pair in ((name, other), (other, name))]
        for (src, dst), family, service in itertools.product(pairs, (4, 6), services):
            # This kernel's masquerading does not know SCTP.
            if service.startswith("sctp") and dst in ("world", "beyond"):
                continue
            yield Flow(src, dst, family, service)

    def check(self, expectation, flows=None):
        """Every flow by real packets; fails with all that went otherwise. Returns {flow: Outcome}."""
        return self.prober.check(expectation, flows if flows is not None else self.flows())

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
        out = self.node.run("sh", "-c", "\n".join(["echo [", *lines, "echo null ]"])).stdout
        return json.loads(out)[:-1]

    def agree(self, outcomes, count=None, seed=0):
        """`trace` and `policy why` say of a sample of these flows what the traffic found."""
        flows = sorted(outcomes)
        if count and count < len(flows):
            kinds = [[f for f in flows if outcomes[f].passed is passed] for passed in (True, False)]
            draw = random.Random(seed)
            flows = [f for kind in kinds for f in draw.sample(kind, min(count // 2, len(kind)))]
        wrong = []
        for command in ("trace", "policy why"):
            asked = [f for f in flows if command == "trace" or {f.src, f.dst} & set(self.pods)]
            for flow, answer in zip(asked, self.ask(command, asked)):
                if not answer or (answer["verdict"] in ("allowed", "pass")) != outcomes[flow].passed:
                    wrong.append(f"{command}: {flow}: {outcomes[flow]}, said {json.dumps(answer)}")
        assert not wrong, "\n".join(wrong)
