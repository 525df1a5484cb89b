# SPDX-License-Identifier: BSD-2-Clause
import pytest

from kube import K8S, Kubernetes, made_space
from lab import BUILD
from talk import Servers


@pytest.fixture(scope="session")
def programs():
    """What `cluster` runs is there: build.sh, whose 9 minutes want to be seen, has been."""
    if not (K8S / "images/busybox.tar").exists():
        pytest.skip("Kubernetes is not built: run tests/k8s/build.sh")


def pytest_configure(config):
    config.addinivalue_line("markers", "proxies(*modes): kube-proxy's modes that a test of `warren` runs with; one of them by default")
    config.addinivalue_line("markers", "figures: measures and prints; `make figures-k8s`")


def pytest_generate_tests(metafunc):
    """So that there is one cluster at a time, and each once."""
    if "warren" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("proxies")
        metafunc.parametrize("warren", marker.args if marker else ("nftables",), indirect=True, scope="session")


@pytest.fixture(scope="session")
def image(programs):
    if not (BUILD / "image/warren.tar").exists():
        pytest.skip(f"there is no {BUILD}/image/warren.tar: run make image")


@pytest.fixture(scope="session")
def warren(request, image):
    """A cluster with Warren, beside kube-proxy in some mode."""
    images = " ".join(name for name in ("agnhost", "coredns") if (K8S / f"images/{name}.tar").exists())
    with Kubernetes("warren", CNI="warren", PROXY=request.param, IMAGES=images) as cluster:
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
