# SPDX-License-Identifier: BSD-2-Clause
"""etcd and an API server without nodes or controllers, in namespaces that end with their block: a place for objects."""

import http.client
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("WARREN_BUILD", ROOT / "build"))
BIN = Path(os.environ.get("KUBE", ROOT / "build/kube")) / "bin"
TIMEOUT = float(os.environ.get("WARREN_TEST_TIMEOUT", "30"))


class ControlPlane:
    def __init__(self, *flags):
        self.flags = flags
        self.dir = Path(tempfile.mkdtemp(prefix="warren-cp-"))
        # Its processes share one pid namespace, which ends with the first of them.
        namespaces = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        init = ("sh", "-c", "ip link set lo up; mount -t tmpfs run /run; echo ready; exec sleep infinity")
        self.holder = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", *namespaces, *init), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self.holder.stdout.readline() == "ready\n"
        self.pid = int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])
        self.pki = self.dir / "pki"
        subprocess.run([HERE / "pki.sh", self.pki, "cp=127.0.0.1,::1"], check=True, capture_output=True)
        self.kubeconfig = self.pki / "admin.conf"
        self.api = None
        try:
            self.start_etcd()
            self.start()
        except BaseException:
            self.close()
            raise

    def run(self, program, *argv):
        """One that ends; what it has printed."""
        done = subprocess.run(self.enter(BIN / program, *argv), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def enter(self, *argv):
        return ("nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", *map(str, argv))

    def spawn(self, program, *argv):
        log = open(self.dir / f"{program}.log", "a")
        with log:
            return subprocess.Popen(self.enter(BIN / program, *argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start_etcd(self):
        self.etcd = self.spawn(
            "etcd", f"--data-dir={self.dir}/etcd", "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync",
            "--quota-backend-bytes=4000000000",
        )

    def start(self):
        """The API server; returns when it is ready."""
        pki = self.pki
        self.api = self.spawn(
            "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1", "--secure-port=6443",
            "--advertise-address=10.10.0.10", f"--tls-cert-file={pki}/cp.crt", f"--tls-private-key-file={pki}/cp.key",
            f"--client-ca-file={pki}/ca.crt", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/16,fd96::/108", *self.flags,
        )
        end = time.monotonic() + 3 * TIMEOUT
        while self.ask("GET", "/readyz", quiet=True)[0] != 200:
            assert self.api.poll() is None, (self.dir / "kube-apiserver.log").read_text()[-3000:]
            assert time.monotonic() < end, "the API server is not ready"
            time.sleep(0.1)

    def stop(self, kill=signal.SIGKILL):
        self._end(self.api, kill)

    def _end(self, process, kill=signal.SIGKILL):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in children:
            os.kill(int(pid), kill)
        process.wait()

    def backup(self):
        """Saves the content of etcd, for restore(); all servers are stopped meanwhile."""
        self.stop()
        self._end(self.etcd)
        shutil.copytree(self.dir / "etcd", self.dir / "backup")
        self.start_etcd()
        self.start()

    def restore(self):
        self.stop()
        self._end(self.etcd)
        shutil.rmtree(self.dir / "etcd")
        (self.dir / "backup").rename(self.dir / "etcd")
        self.start_etcd()
        self.start()

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        for process in (self.api, getattr(self, "etcd", None)):
            if process:
                process.wait()
        shutil.rmtree(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- requests, by processes inside

    def ask(self, method, path, body=None, quiet=False):
        """(status, body)"""
        return Loader(self).ask(method, path, body, quiet)

    def get(self, path):
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return json.loads(answer)

    def create(self, path, *objects, workers=8):
        """Creates them, by several connections at once."""
        self._all("POST", [(path, o) for o in objects], workers)

    def delete(self, path, *names, workers=8):
        self._all("DELETE", [(f"{path}/{name}?gracePeriodSeconds=0", None) for name in names], workers)

    def _all(self, method, requests, workers):
        queue, failures = iter(requests), []
        lock = threading.Lock()

        def work():
            loader = Loader(self)
            while True:
                with lock:
                    request = next(queue, None)
                if request is None:
                    return
                status, answer = loader.ask(method, *request)
                if status not in (200, 201):
                    failures.append((status, answer))
                    return

        threads = [threading.Thread(target=work) for _ in range(min(workers, len(requests)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]


class Loader:
    """One connection to the API server, as administrator or with a token; made by a thread that is in the namespace
    only for that.
    """

    def __init__(self, plane, token=None):
        self.plane = plane
        self.context = ssl.create_default_context(cafile=plane.pki / "ca.crt")
        if not token:
            self.context.load_cert_chain(plane.pki / "admin.crt", plane.pki / "admin.key")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = None

    def connect(self):
        import socket

        fd = os.open(f"/proc/{self.plane.pid}/ns/net", os.O_RDONLY)
        made = []

        def inside():
            try:
                os_setns(fd)
                made.append(socket.create_connection(("127.0.0.1", 6443), timeout=TIMEOUT))
            except OSError as e:
                made.append(e)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        os.close(fd)
        if isinstance(made[0], OSError):
            raise made[0]
        self.connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=self.context)
        self.connection.sock = self.context.wrap_socket(made[0], server_hostname="127.0.0.1")

    def ask(self, method, path, body=None, quiet=False, kind="application/json"):
        try:
            if not self.connection:
                self.connect()
            text = json.dumps(body) if body is not None else None
            self.connection.request(method, path, text, {**self.headers, **({"Content-Type": kind} if text else {})})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as e:
            self.connection = None
            if quiet:
                return 0, str(e)
            raise


def os_setns(fd):
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Watcher:
    """tests/lib/watchctl: the source's changes, as lines."""

    def __init__(self, plane, *argv, kubeconfig=None):
        program = (BUILD / "tests/lib/watchctl", f"kubeconfig={kubeconfig or plane.kubeconfig}", *argv)
        self.process = subprocess.Popen(
            ("nsenter", f"--net=/proc/{plane.pid}/ns/net", *map(str, program)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self.buffer, self.lines = b"", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()

    def read(self, timeout):
        """One more line, or None when there is none for so long."""
        while b"\n" not in self.buffer:
            if not select.select([self.process.stdout], [], [], timeout)[0]:
                return None
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, f"watchctl has ended with {self.process.wait()}: {self.lines[-5:]}"
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.lines.append(line.decode())
        return self.lines[-1]

    def until(self, done, what, timeout=TIMEOUT):
        """Lines from now on until `done` is true of one; all of them."""
        end, seen = time.monotonic() + timeout, []
        while True:
            line = self.read(max(end - time.monotonic(), 0))
            assert line is not None, f"not within {timeout} s: {what}; seen: {seen[-20:]}"
            seen.append(line)
            if done(line):
                return seen

    def until_printed(self, prefixes, since=0, timeout=TIMEOUT):
        """Until there are lines with all of these prefixes, from line number `since` on."""
        missing = lambda: [p for p in prefixes if not any(line.startswith(p) for line in self.lines[since:])]
        if missing():
            self.until(lambda _: not missing(), f"all of {prefixes}", timeout)

    def say(self, command):
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def status(self):
        """({title: its figures}, figures of the process); lines before it are kept."""
        self.say("status")
        seen = self.until(lambda line: line.startswith("used "), "status")
        figures = lambda text: {k: int(v) for k, v in (w.split("=") for w in text.split() if "=" in w) if v.isdigit()}
        watches = {}
        for line in seen:
            if line.startswith("watch "):
                title, rest = line[6:].split(": ", 1)
                watches[title] = {**figures(rest.split(" problem=")[0]), "problem": rest.split(" problem=")[1]}
        return watches, figures(seen[-1][5:])
