# SPDX-License-Identifier: BSD-2-Clause
import pytest

from control_plane import KUBE
from kube_cluster import Kubernetes, made_space
from lab import BUILD
from whoami import Servers

SINGLE = {f"IPv{family}": {"PROXY": "nftables", "FAMILIES": str(family)} for family in (4, 6)}  # clusters of one family


@pytest.fixture(scope="session")
def programs():
    """What `cluster` runs is there: build.sh has been run (by hand: its 9 minutes would look like a hang here)."""
    if not (KUBE / "images/busybox.tar").exists():
        pytest.fail("Kubernetes is not built: run tests/kube/build.sh")


def pytest_configure(config):
    config.addinivalue_line("markers", "proxies(*modes): of kube-proxy, with each of which a test of `warren` runs")
    config.addinivalue_line("markers", "families: a test of `warren` that also runs in clusters of one family")
    config.addinivalue_line("markers", "figures: measures and prints; `make figures-kube`")


def pytest_generate_tests(metafunc):
    """So that there is one cluster at a time, and each once."""
    if "warren" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("proxies")
        clusters = list(marker.args if marker else ("nftables",))
        if metafunc.definition.get_closest_marker("families"):
            clusters += [pytest.param(name, marks=pytest.mark.long) for name in SINGLE]
        metafunc.parametrize("warren", clusters, indirect=True, scope="session")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """The state of the cluster when a test failed."""
    report = (yield).get_result()
    if report.failed:
        for cluster in {id(c): c for c in item.funcargs.values() if isinstance(c, Kubernetes)}.values():
            report.sections.append(("the cluster", cluster.looks()))


@pytest.fixture(scope="session")
def image(programs):
    if not (BUILD / "image/warren.tar").exists():
        pytest.fail(f"there is no {BUILD}/image/warren.tar: run make image")


@pytest.fixture(scope="session")
def warren(request, image):
    """A cluster with Warren, beside kube-proxy in some mode, or of one family."""
    images = " ".join(name for name in ("agnhost", "coredns") if (KUBE / f"images/{name}.tar").exists())
    settings = SINGLE.get(request.param) or {"PROXY": request.param}
    with Kubernetes("warren", CNI="warren", IMAGES=images, **settings) as cluster:
        print("\n" + "".join(cluster.said), end="")
        yield cluster


@pytest.fixture
def space(warren):
    """A namespace of the test's own."""
    with made_space(warren) as name:
        yield name


@pytest.fixture
def servers():
    with Servers() as servers:
        yield servers
