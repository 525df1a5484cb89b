# SPDX-License-Identifier: BSD-2-Clause
"""`warren-agent prepare`, `install` and `uninstall`: on various hosts, killed at any moment, and the removal."""

import hashlib
import re
import signal
import subprocess

import pytest

from agent import Agent
from lab import BUILD, NODE_GATEWAY, REPO, Node, network
from seed import drawn

CONFLIST = "/etc/cni/net.d/05-warren.conflist"
BIN = "/run/cni-bin"  # a file system of the test's own, with nothing in it
PLUGIN = f"{BIN}/warren-cni"


@pytest.fixture
def node():
    with Node() as node:
        node.netns_delete(node.netns_add("first"))  # leaves the directory of namespaces, which is not ours
        yield node


@pytest.fixture
def bin_dir(node):
    """An empty directory of plugins, as seen from here."""
    node.run("mkdir", BIN)
    node.run("mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "bin", BIN)
    return node.outside(BIN)


def installer(node, command, *args, check=True, wrap=()):
    return node.run(*wrap, "warren-agent", command, *args, check=check)


def install(node, *args, check=True, **options):
    return installer(node, "install", "--cni-bin-dir", BIN, *args, check=check, **options)


def give_portmap(node):
    node.run("cp", "-L", "/usr/lib/cni/portmap", f"{BIN}/portmap")


def image(node):
    """The programs as the image has them; the agent's path."""
    node.run("mkdir", "/run/image")
    for program in (BUILD / "warren-agent", BUILD / "warren-cni", "/usr/lib/cni/portmap"):
        node.run("cp", "-L", program, "/run/image/")
    return "/run/image/warren-agent"


# Every step that leaves state is one of these calls, or comes between two of them.
CALLS = "write,fsync,fchmod,sendto,sendmsg,umount2,?rename,?renameat2,?unlink,unlinkat,?rmdir,?mkdir"


def moments(node, run):
    """The calls of CALLS that a command makes, in their order: (name, the how manieth of that name).

    `run` starts it after the arguments that it is given.
    """
    run(["strace", "-qq", "-o", "/run/calls", "-e", f"trace={CALLS}", "-e", "signal=none"])
    calls = node.outside("/run/calls")
    names = re.findall(r"^(\w+)\(", calls.read_text(), re.MULTILINE)
    calls.unlink()
    return [(name, names[: i + 1].count(name)) for i, name in enumerate(names)]


def killed_at(moment):
    """Before a command: SIGKILL as it begins that call."""
    return ["strace", "-qq", "-o", "/dev/null", "-e", "inject={}:signal=KILL:when={}".format(*moment)]


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version(node):
    """The plugin's reply to VERSION."""
    env = {**node.env, "CNI_COMMAND": "VERSION"}
    return node.run(PLUGIN, env=env, input='{"cniVersion": "1.0.0"}')


# --- prepare ------------------------------------------------------------------------------------------------------------


def as_kind_is(node):
    """/sys read-only, no bpffs, strict reverse path filtering, cgroups of its own."""
    node.run("umount", "/sys/fs/bpf")
    node.run("mount", "-o", "remount,bind,ro", "/sys")
    for name in ("all", "default"):
        node.run("sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=1")


CAPABILITIES = "+net_admin,+sys_admin,+net_raw"  # what the manifest gives the agent's container
AS_AGENT = ["unshare", "--cgroup", "setpriv", f"--bounding-set=-all,{CAPABILITIES}", f"--inh-caps=-all,{CAPABILITIES}"]


def test_prepare_then_the_agent_with_fewer_rights(node):
    """On a node like kind's: the agent finds /proc/sys read-only, as in a container, and has only its capabilities."""
    as_kind_is(node)
    before = node.traces()
    installer(node, "prepare")
    assert node.run("stat", "-f", "-c", "%T", "/sys/fs/bpf").stdout == "bpf_fs\n"
    assert node.sysctl("ipv4/ip_forward") == "1" and node.sysctl("ipv6/conf/all/forwarding") == "1"
    node.run("mount", "--bind", "/proc/sys", "/proc/sys")
    node.run("mount", "-o", "remount,bind,ro", "/proc/sys")
    with Agent(node, wrap=AS_AGENT) as agent:
        assert node.sysctl("ipv4/conf/warren0/rp_filter") == "2"
        pod = node.pod("a", network())
        for family in (4, 6):
            pod.ping(NODE_GATEWAY[family])
        pod.delete()
        assert node.warren("status").returncode == 0
        agent.stop()
    node.run("umount", "/proc/sys")
    node.run("rm", "-r", "/run/manifests", "/run/agent.log", "/run/notify.sock")
    installer(node, "uninstall")
    assert node.traces() == before


@pytest.mark.long
def test_prepare_twice_remembers_what_was_first(node):
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    before = node.traces()
    installer(node, "prepare")
    installer(node, "prepare")
    node.warren("node", "init")
    assert node.traces() != before
    node.warren("node", "down")
    assert node.traces() == before


def test_prepare_where_nothing_may_be_written(node):
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    node.run("mount", "--bind", "/proc/sys", "/proc/sys")
    node.run("mount", "-o", "remount,bind,ro", "/proc/sys")
    done = installer(node, "prepare", check=False)
    assert done.returncode == 1
    assert "sysctl net/ipv4/ip_forward" in done.stderr and "Read-only" in done.stderr and "more rights" in done.stderr


def test_prepare_without_the_right_to_mount(node):
    node.run("umount", "/sys/fs/bpf")
    crippled = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = installer(node, "prepare", check=False, wrap=crippled)
    assert done.returncode == 1 and "bpffs" in done.stderr and "mount -t bpf" in done.stderr


# --- install ------------------------------------------------------------------------------------------------------------


def test_install_writes_once(node, bin_dir):
    give_portmap(node)
    install(node)
    plugin = bin_dir / "warren-cni"
    first = plugin.stat()
    assert checksum(plugin) == checksum(BUILD / "warren-cni") and first.st_mode & 0o7777 == 0o755
    version(node)
    assert "is up to date" in install(node).stderr
    assert plugin.stat() == first
    plugin.chmod(0o600)  # not what was installed
    install(node)
    assert plugin.stat().st_mode & 0o7777 == 0o755
    assert sorted(p.name for p in bin_dir.iterdir()) == ["portmap", "warren-cni"]


def test_install_beneath_a_running_plugin(node, bin_dir):
    """A process that runs the old one goes on with it; the next call gets the new one."""
    give_portmap(node)
    install(node)
    env = {**node.env, "CNI_COMMAND": "VERSION"}
    running = node.popen(PLUGIN, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # it reads its configuration
    other = bin_dir / "other"
    other.write_bytes((BUILD / "warren-cni").read_bytes() + b"\0")
    install(node, "--from", f"{BIN}/other")
    assert checksum(bin_dir / "warren-cni") == checksum(other)
    out, _ = running.communicate(b'{"cniVersion": "1.0.0"}')
    assert running.returncode == 0 and b"supportedVersions" in out
    version(node)


def test_install_brings_portmap(node, bin_dir):
    """Only where the host has none; only then does uninstall remove it."""
    agent = image(node)
    node.run(agent, "install", "--cni-bin-dir", BIN)
    assert (bin_dir / "portmap").exists()
    node.run(agent, "install", "--cni-bin-dir", BIN)
    node.run(agent, "uninstall", "--cni-bin-dir", BIN)
    assert list(bin_dir.iterdir()) == [] and node.files("/var/lib/warren") == []
    (bin_dir / "portmap").write_text("the host's own")
    node.run(agent, "install", "--cni-bin-dir", BIN)
    assert (bin_dir / "portmap").read_text() == "the host's own"
    node.run(agent, "uninstall", "--cni-bin-dir", BIN)
    assert [p.name for p in bin_dir.iterdir()] == ["portmap"]


def test_install_asks_portmap_for_its_versions(node, bin_dir):
    """Debian's supports CNI 1.0.0 at most: the output must tell the author of the network configuration."""
    give_portmap(node)
    assert "does not support CNI 1.1.0" in install(node).stderr
    assert node.files("/var/lib/warren") == ["installed", "portmap-is-old"]
    (bin_dir / "portmap").write_text("""#!/bin/sh\necho '{"supportedVersions": ["1.0.0", "1.1.0"]}'\n""")
    assert "does not support" not in install(node).stderr
    assert node.files("/var/lib/warren") == ["installed"]


def test_install_without_portmap(node, bin_dir):
    done = install(node, check=False)
    assert done.returncode == 1 and "no portmap" in done.stderr and "containernetworking-plugins" in done.stderr


@pytest.mark.parametrize("option", ["ro", "size=1m"], ids=["read-only", "full"])
def test_install_where_it_cannot(node, bin_dir, option):
    """What was there stays, no partial file is left, and the error names the path."""
    give_portmap(node)
    (bin_dir / "portmap").write_bytes(b"")
    (bin_dir / "warren-cni").write_text("an old one")
    node.run("mount", "-o", f"remount,{option}", BIN)
    done = install(node, check=False)
    assert done.returncode == 1 and f"{PLUGIN}" in done.stderr
    assert ("make room" if option != "ro" else "must be writable") in done.stderr
    assert (bin_dir / "warren-cni").read_text() == "an old one"
    assert sorted(p.name for p in bin_dir.iterdir()) == ["portmap", "warren-cni"]


def small_disk(node, *directories, size="256k"):
    """One file system for all of them; returns the functions that fill it and make room."""
    node.run("mkdir", "/run/disk")
    node.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "disk", "/run/disk")
    for i, path in enumerate(directories):
        node.run("mkdir", "-p", f"/run/disk/{i}", path)
        node.run("mount", "--bind", f"/run/disk/{i}", path)
    fill = ["sh", "-c", "cat /dev/zero >/run/disk/filler"]
    return (lambda: node.run(*fill, check=False)), (lambda: node.run("rm", "/run/disk/filler"))


@pytest.mark.parametrize("shared", [False, True], ids=["/var/lib", "/"])
def test_install_on_a_full_disk(node, bin_dir, shared):
    """What cannot be recorded is not installed. Uninstall needs no room."""
    fill, make_room = small_disk(node, "/var/lib/warren", *([BIN] if shared else []), size="16m")
    bin_dir = node.outside(BIN)
    give_portmap(node)
    fill()
    done = install(node, check=False)
    assert done.returncode == 1
    assert "cannot write /var/lib/warren/installed: No space left on device; make room on its filesystem" in done.stderr
    assert [p.name for p in bin_dir.iterdir()] == ["portmap"] and node.files("/var/lib/warren") == []
    make_room()
    install(node)
    fill()
    assert "is up to date" in install(node).stderr
    uninstall(node)
    assert [p.name for p in bin_dir.iterdir()] == ["portmap"] and node.files("/var/lib/warren") == []


def test_install_fills_the_disk(node):
    """There is room for the record, and not for the plugin."""
    fill, make_room = small_disk(node, "/var/lib/warren", BIN, size="32m")
    give_portmap(node)
    fill()
    node.run("truncate", "-s", "-64k", "/run/disk/filler")
    done = install(node, check=False)
    assert done.returncode == 1 and f"cannot write {PLUGIN}: No space left" in done.stderr and "make room" in done.stderr
    assert node.files(BIN) == ["portmap"] and node.files("/var/lib/warren") == ["installed"]
    make_room()
    install(node)
    version(node)
    uninstall(node)
    assert node.files(BIN) == ["portmap"] and node.files("/var/lib/warren") == []


def test_prepare_on_a_full_disk(node):
    """The API server's address is kept if it can be: the node gets what it cannot be without."""
    kubelet = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{ name: c, context: { cluster: k, user: u } }]\n"
    kubelet += 'clusters: [{ name: k, cluster: { server: "https://192.0.2.1:6443" } }]\nusers: [{ name: u, user: {} }]\n'
    host_with(node, {"/etc/kubernetes/kubelet.conf": kubelet})
    fill, make_room = small_disk(node, "/var/lib/warren")
    fill()
    node.run("umount", "/sys/fs/bpf")
    done = installer(node, "prepare", f"--host={HOST}")
    assert "warn" in done.stderr and "cannot write /var/lib/warren/kubelet-server: No space left on device" in done.stderr
    assert node.run("stat", "-f", "-c", "%T", "/sys/fs/bpf").stdout == "bpf_fs\n"
    assert node.files("/var/lib/warren") == []
    make_room()
    installer(node, "prepare", f"--host={HOST}")
    assert node.outside("/var/lib/warren/kubelet-server").read_text() == "https://192.0.2.1:6443\n"


def test_install_into_nothing(node):
    done = install(node, check=False)
    assert done.returncode == 1 and BIN in done.stderr and "--cni-bin-dir" in done.stderr


@pytest.mark.long
def test_install_killed_at_any_moment(node, bin_dir):
    """There is always one complete plugin, which runs; the next install leaves nothing of a killed one."""
    give_portmap(node)
    builds = [BUILD / "warren-cni", bin_dir / "other"]
    builds[1].write_bytes(builds[0].read_bytes() + b"\0")
    whole = {checksum(build) for build in builds}
    install(node)
    steps = moments(node, lambda wrap: install(node, "--from", f"{BIN}/other", wrap=wrap))
    assert {"write", "fsync", "rename"} <= {name for name, _ in steps}
    for i, step in enumerate(steps):
        source = f"{BIN}/other" if i % 2 else builds[0]
        assert install(node, "--from", source, check=False, wrap=killed_at(step)).returncode != 0, step
        assert checksum(bin_dir / "warren-cni") in whole
        version(node)
    install(node)
    assert sorted(p.name for p in bin_dir.iterdir()) == ["other", "portmap", "warren-cni"]


# --- where to install ---------------------------------------------------------------------------------------------------

HOST = "/run/host"  # a host's root directory, as a container mounts it
CONTAINERD, CRIO = "/etc/containerd/config.toml", "/etc/crio/crio.conf"
DEFAULT = "/opt/cni/bin"


def sample(name):
    return (REPO / f"tests/fuzz/corpus/toml/{name}.toml").read_text()


def host_with(node, files, directories=()):
    for path, text in files.items():
        path = node.outside(HOST + path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in (*directories, ""):
        node.outside(HOST + path).mkdir(parents=True, exist_ok=True)


def tree(node):
    return sorted(node.run("find", HOST, "-printf", "%P %y %l\n").stdout.splitlines())


DROP_INS = {
    "/etc/containerd/conf.d/a.toml": "[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dir = '/srv/a'\n",
    "/etc/containerd/conf.d/b.toml": "[plugins.'io.containerd.cri.v1.runtime']\ncni = { bin_dirs = ['/srv/b/', '/srv/c'] }\n",
}
CRIO_DROP_INS = {
    f"{CRIO}.d/10-crio.conf": "[crio.runtime]\n",
    f"{CRIO}.d/20.conf": '[crio.network]\nplugin_dirs=["/srv/cni"]\n',
}
LOOKS = "looks for plugins in"
# What the host has: files, directories; where the plugin goes; a part of the message.
RUNTIMES = {
    "containerd-1-debian": (
        {CONTAINERD: sample("containerd1-debian")}, [], ["/usr/lib/cni"],
        f"containerd {LOOKS} /usr/lib/cni, according to {CONTAINERD}",
    ),
    "containerd-1": ({CONTAINERD: sample("containerd1")}, [], [DEFAULT], f"according to {CONTAINERD}"),
    "containerd-1-version-1": ({CONTAINERD: '[plugins.cri.cni]\nbin_dir = "/srv/cni"\n'}, [], ["/srv/cni"], ""),
    "containerd-2": ({CONTAINERD: sample("containerd2")}, [], [DEFAULT], f"according to {CONTAINERD}"),
    "containerd-2-drop-in": (
        {CONTAINERD: sample("containerd2"), **DROP_INS}, [], ["/srv/b"],
        f"containerd {LOOKS} /srv/b, according to /etc/containerd/conf.d/b.toml",
    ),
    "imports-in-a-circle": (
        {CONTAINERD: 'imports = ["*.toml"]\n'}, [], [DEFAULT], f"its default: {CONTAINERD} names no directory"
    ),
    "crio": ({CRIO: sample("crio")}, [], ["/usr/libexec/cni"], f"CRI-O {LOOKS} /usr/libexec/cni, according to {CRIO}"),
    "crio-one-exists": ({CRIO: sample("crio")}, [DEFAULT], [DEFAULT], f"CRI-O {LOOKS} {DEFAULT}, according to {CRIO}"),
    "crio-drop-ins-alone": (CRIO_DROP_INS, [], ["/srv/cni"], f"according to {CRIO}.d/20.conf"),
    "both": (
        {CONTAINERD: sample("containerd1-debian"), CRIO: ""}, [], ["/usr/lib/cni", DEFAULT],
        f"CRI-O {LOOKS} {DEFAULT}, its default",
    ),
    "neither": ({}, [], [DEFAULT], f"no configuration of containerd or CRI-O was found: plugins go to {DEFAULT}"),
    "no-toml": (
        {CONTAINERD: "version = 2\n[plugins\n"}, [], [DEFAULT],
        f"{CONTAINERD} of containerd: line 2: there should be a closing bracket",
    ),
    "elsewhere": (
        {CONTAINERD: '[plugins.cri.cni]\nconf_dir = "/srv/net.d"\n'}, [], [DEFAULT],
        "containerd looks for network configurations in /srv/net.d, not where",
    ),
}


@pytest.mark.parametrize("name", RUNTIMES)
def test_install_where_the_runtime_looks(node, name):
    """Directories are made as needed; uninstall removes what was made, and nothing else."""
    files, directories, expected, message = RUNTIMES[name]
    agent = image(node)
    host_with(node, files, directories)
    before = tree(node)
    done = node.run(agent, "install", f"--host={HOST}")
    assert message in done.stderr
    assert ("looks for network configurations" in done.stderr) == (name == "elsewhere")
    made = {*node.files(HOST)} - {path.lstrip("/") for path in files}
    assert made == {f"{path.lstrip('/')}/{program}" for path in expected for program in ("portmap", "warren-cni")}
    assert "is installed" not in node.run(agent, "install", f"--host={HOST}").stderr
    node.run(agent, "uninstall", f"--host={HOST}")
    assert tree(node) == before and node.files("/var/lib/warren") == []


def test_install_follows_links_as_the_host_does(node):
    agent = image(node)
    host_with(node, {}, ["/var/opt", "/etc"])
    node.run("ln", "-s", "/var/opt", f"{HOST}/opt")  # it leads elsewhere where the installer runs
    node.run("ln", "-s", "../../../../run/outside", f"{HOST}/etc/containerd")
    node.run("mkdir", "/run/outside")
    node.outside("/run/outside/config.toml").write_text('[plugins.cri.cni]\nbin_dir = "/srv/cni"\n')
    before = tree(node)
    node.run(agent, "install", f"--host={HOST}")
    assert node.files(f"{HOST}/var/opt") == ["cni/bin/portmap", "cni/bin/warren-cni"]
    node.run(agent, "uninstall", f"--host={HOST}")
    assert tree(node) == before


def test_install_where_no_directory_can_be_made(node):
    agent = image(node)
    host_with(node, {CONTAINERD: '[plugins.cri.cni]\nbin_dir = "/usr/cni/bin"\n'}, ["/usr"])
    before = tree(node)
    node.run("mount", "-t", "tmpfs", "-o", "ro", "usr", f"{HOST}/usr")
    done = node.run(agent, "install", f"--host={HOST}", check=False)
    assert done.returncode == 1
    assert f"cannot make directory {HOST}/usr/cni: Read-only file system; --cni-bin-dir sets another one" in done.stderr
    node.run("umount", f"{HOST}/usr")
    assert tree(node) == before


def test_install_after_a_change_of_the_runtimes_directory(node):
    """What was installed first is known until uninstall, and what others put beside it stays."""
    agent = image(node)
    host_with(node, {})
    for directory in ("/srv/first", "/srv/second"):
        host_with(node, {CONTAINERD: f'[plugins.cri.cni]\nbin_dir = "{directory}"\n'})
        node.run(agent, "install", f"--host={HOST}")
    node.outside(f"{HOST}/srv/first/bridge").write_text("the host's own")
    node.run(agent, "uninstall", f"--host={HOST}")
    assert node.files(HOST) == ["etc/containerd/config.toml", "srv/first/bridge"]
    assert not node.outside(f"{HOST}/srv/second").exists()


def earlier_release(node, own):
    """What it leaves on the host. It has recorded only whether portmap is its own."""
    host_with(node, {f"{DEFAULT}/{name}": "" for name in ("warren-cni", "portmap")})
    node.run("mkdir", "-p", "/var/lib/warren")
    if own:
        node.outside("/var/lib/warren/portmap-is-ours").write_text("")


def test_uninstall_of_an_earlier_release(node):
    agent = image(node)
    for own in (True, False):
        earlier_release(node, own)
        node.run(agent, "uninstall", f"--host={HOST}")
        assert node.files(HOST) == ([] if own else ["opt/cni/bin/portmap"])


def test_install_over_an_earlier_release(node):
    agent = image(node)
    for own in (True, False):
        earlier_release(node, own)
        node.run(agent, "install", f"--host={HOST}")
        assert (node.outside(f"{HOST}{DEFAULT}/portmap").stat().st_size > 0) == own
        node.run(agent, "uninstall", f"--host={HOST}")
        assert node.files(HOST) == ([] if own else ["opt/cni/bin/portmap"])


def test_install_asks_the_runtime_that_runs(node, bin_dir):
    """It counts with the file of its command line, whatever other files there are; one in a container does not."""
    give_portmap(node)
    for name, directory in (("outer", BIN), ("inner", "/run/inner")):
        node.outside(f"/run/{name}.toml").write_text(f'[plugins.cri.cni]\nbin_dir = "{directory}"\n')
    node.outside("/run/containerd").write_text("#!/bin/sh\necho\nread line\n")  # its name is that of the script
    node.run("chmod", "755", "/run/containerd")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    starts = [("/run/containerd", "--log-level", "info", "--config=/run/outer.toml"),
              ("unshare", "--pid", "--fork", "--kill-child", "/run/containerd", "-c", "/run/inner.toml")]
    running = [node.popen(*start, **pipes) for start in starts]
    for process in running:
        assert process.stdout.read(1)
    done = installer(node, "install")
    assert f"containerd looks for plugins in {BIN}, according to /run/outer.toml" in done.stderr and "inner" not in done.stderr
    assert sorted(p.name for p in bin_dir.iterdir()) == ["portmap", "warren-cni"]
    for process in running:
        process.communicate(b"\n")


# --- uninstall ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(node, bin_dir):
    """The traces of the node before, and the node with everything that an installation makes."""
    give_portmap(node)
    before = node.traces()
    install_all(node)
    return before


def install_all(node):
    install(node)
    installer(node, "prepare")
    node.warren("node", "init")
    node.outside(CONFLIST).write_text("{}")


def uninstall(node, *args, **options):
    return installer(node, "uninstall", "--cni-bin-dir", BIN, *args, **options)


def standing(node):
    """The files that are there for the runtime."""
    return {path for path in (CONFLIST, PLUGIN, f"{BIN}/portmap") if node.outside(path).exists()}


def test_uninstall_leaves_the_node_as_it_was(node, installed):
    node.pod("a", network()).delete()
    node.assert_clean()
    node.outside("/var/lib/warren").mkdir(exist_ok=True)
    node.outside("/var/lib/warren/cluster.key").write_text("secret")
    uninstall(node)
    assert node.traces() == installed
    assert standing(node) == {f"{BIN}/portmap"}
    assert node.files("/etc/cni/net.d") == [] and not node.outside("/var/lib/warren").exists()
    uninstall(node)  # there is nothing to do
    assert node.traces() == installed


@pytest.mark.long
def test_uninstall_takes_what_is_half_written(node, installed):
    """The process that wrote it was killed."""
    for path in (f"{CONFLIST}.new", f"{PLUGIN}.new"):
        node.outside(path).write_text("{")
    uninstall(node)
    assert node.traces() == installed
    assert node.files("/etc/cni/net.d") == [] and not node.outside(f"{PLUGIN}.new").exists()


@pytest.mark.long
def test_uninstall_without_a_configuration(node, installed):
    """Nothing is removed from another directory, from which it is run."""
    node.outside("/run/.uninstalled").write_text("mine")
    node.run("sh", "-c", f"cd /run && exec warren-agent uninstall --cni-bin-dir {BIN} --conflist off")
    assert node.outside("/run/.uninstalled").read_text() == "mine"
    node.outside("/run/.uninstalled").unlink()


@pytest.mark.long
def test_uninstall_lists_the_pods_that_are_left(node, installed):
    args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"
    pods = [node.pod("a", network(), args=args), node.pod("b", network())]
    made = node.traces()
    done = uninstall(node, check=False)
    assert done.returncode == 1 and "2 pods are still here" in done.stderr and "--wait" in done.stderr
    assert "shop/web" in done.stderr and pods[1].container in done.stderr
    assert node.traces() == made and len(standing(node)) == 3
    for pod in pods:
        pod.ping(NODE_GATEWAY[4])
        pod.delete()
    uninstall(node)
    assert node.traces() == installed


def test_uninstall_waits_for_the_last_pod(node, installed):
    pods = [node.pod(name, network()) for name in "ab"]
    with node.popen("warren-agent", "uninstall", "--wait", "--cni-bin-dir", BIN, stderr=subprocess.PIPE, text=True) as waiting:
        for pod in pods:
            line = waiting.stderr.readline()
            assert "waiting for the end of" in line and pod.container in line, line
            assert len(standing(node)) == 3
            pod.delete()
        assert "nothing of Warren is left" in waiting.stderr.read()
        assert waiting.wait() == 0
    assert node.traces() == installed


@pytest.mark.long
def test_uninstall_takes_pods_that_died_without_del(node, installed):
    """Their namespaces are gone: no runtime will ever end them."""
    pod = node.pod("a", network())
    pod.gone()
    uninstall(node)
    assert node.traces() == installed


@pytest.mark.long
def test_uninstall_killed_between_its_steps(node, installed):
    """The configuration is moved away while an older pod exists: both are as before."""
    pod = node.pod("a", network())
    node.run("mv", CONFLIST, f"{CONFLIST}.uninstalled")
    assert uninstall(node, check=False).returncode == 1
    assert len(standing(node)) == 3
    pod.delete()
    node.run("mv", CONFLIST, f"{CONFLIST}.uninstalled")
    uninstall(node)
    assert node.traces() == installed and node.files("/etc/cni/net.d") == []


def test_uninstall_not_beside_an_agent(node, installed):
    with Agent(node):
        done = uninstall(node, check=False)
        assert done.returncode == 1 and "stop warren-agent first" in done.stderr
        assert len(standing(node)) == 3 and node.warren("status").returncode == 0


@pytest.mark.long
def test_uninstall_killed_at_any_moment(node, installed):
    """Each run goes on where the one before was killed, removes one more file, and is killed as it removes the next: all
    that a run leaves half done is met. The last run ends it. What comes before the first file, a run does anew: of those
    calls one is drawn each time.
    """
    steps = moments(node, lambda wrap: uninstall(node, wrap=wrap))
    names = [name for name, _ in steps]
    assert {"rename", "unlink", "unlinkat", "sendto"} <= {*names}
    for early in drawn().sample(steps[: names.index("unlinkat")], 2):
        install_all(node)
        assert uninstall(node, check=False, wrap=killed_at(early)).returncode == -signal.SIGKILL, early
        met, number = [], 2
        while uninstall(node, check=False, wrap=killed_at(("unlinkat", number))).returncode == -signal.SIGKILL:
            met.append(node.run("find", "/sys/fs/bpf", "/run", "-path", "/run/.lab", "-prune", "-o", "-print").stdout)
            number += met[-1] in met[:-1]  # it has only tried to remove what is gone
        assert len({*met}) >= names.count("unlinkat") / 2, f"only {len({*met})} states of {len(steps)} moments"
        assert node.traces() == installed
        assert standing(node) == {f"{BIN}/portmap"}
