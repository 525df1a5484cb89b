# SPDX-License-Identifier: BSD-2-Clause
"""What the API client connects to: certificates, a server that fails as no real one does on request; and the client by
hand (apictl.c).
"""

import contextlib
import json
import queue
import socket
import ssl
import struct
import subprocess
import threading
import time

from lab import BUILD
from netns import TIMEOUT


class Authority:
    """A CA in a directory of its own, and what it has signed."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.ca = directory / "ca.crt"
        self._openssl("req", "-x509", *self._key("ca"), "-subj", f"/CN={directory.name}", "-days", "2", "-out", self.ca)

    def _openssl(self, *argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)

    def _key(self, name):
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [*curve, "-keyout", str(self.directory / f"{name}.key")]

    def sign(self, name, *subject_names, days=(-1, 2)):
        """(certificate, key): files. Valid between these two days, counted from now."""
        request, certificate = self.directory / f"{name}.csr", self.directory / f"{name}.crt"
        config = self.directory / f"{name}.conf"
        (self.directory / "index").write_text("")  # openssl's list of what it has signed: required, though unused here
        names = f"subjectAltName={','.join(subject_names)}\n" if subject_names else ""
        config.write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={self.directory}/index\nnew_certs_dir={self.directory}\npolicy=p\nrand_serial=yes\ndefault_md=sha256\n"
            f"[p]\ncommonName=supplied\n[x]\nextendedKeyUsage=serverAuth,clientAuth\n{names}"
        )
        dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * 86400)) for day in days]
        self._openssl("req", *self._key(name), "-subj", f"/CN={name}", "-out", request)
        self._openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "x", "-in", request, "-out", certificate,
                      "-cert", self.ca, "-keyfile", self.directory / "ca.key", "-startdate", dates[0], "-enddate", dates[1])
        return certificate, self.directory / f"{name}.key"


class Request:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ")
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        self.body = body


class Peer:
    """A connection, from the server's side."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def request(self):
        """The next request; None: the connection is closed."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        request = Request(head, b"")
        left = int(request.headers.get("content-length", 0))
        while len(self.buffer) < left:
            self.buffer += self.sock.recv(65536)
        request.body, self.buffer = self.buffer[:left], self.buffer[left:]
        return request

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, body=b"", status="200 OK", **headers):
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def stream(self):
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self):
        """Ends by an RST, without a TLS alert."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait(self):
        """Until the other end has closed."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass


class ApiServer:
    """`answers`: {path without its query: function of (Peer, Request)}; with certificate None it speaks no TLS."""

    def __init__(self, netns, family, certificate=None, client_ca=None, port=0, address=None):
        self.listener = netns.tcp_listen(family, port, address)
        self.listener.settimeout(None)
        self.port = self.listener.getsockname()[1]
        self.context, self.answers, self.requests, self.connections = None, {}, queue.Queue(), 0
        self.open = set()
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(None)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        self.open.add(sock)
        with contextlib.suppress(OSError):
            if self.context:
                self.open.discard(sock)
                sock = self.context.wrap_socket(sock, server_side=True)
                self.open.add(sock)
            else:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer = Peer(sock)
            while request := peer.request():
                self.requests.put(request)
                self.answers.get(request.path.partition("?")[0], self.fallback)(peer, request)
        self.open.discard(sock)
        sock.close()

    @staticmethod
    def fallback(peer, request):
        peer.answer(b"yes")

    def seen(self):
        """The next request that came in."""
        return self.requests.get(timeout=TIMEOUT)

    def close(self):
        """With all its connections."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client:
    """apictl in a namespace: commands in, events out."""

    def __init__(self, netns, *args, env=None):
        self.proc = netns.popen(BUILD / "tests/lib/apictl", *args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = queue.Queue()
        self.kept = []
        threading.Thread(target=self._read, daemon=True).start()
        self.opened = self.wait(lambda e: True)

    def _read(self):
        for line in self.proc.stdout:
            self.events.put((time.monotonic(), json.loads(line)))
        self.events.put((time.monotonic(), None))

    def do(self, *words):
        self.proc.stdin.write(" ".join(map(str, words)) + "\n")
        self.proc.stdin.flush()

    def wait(self, match, timeout=TIMEOUT):
        """The first event not yet returned for which match(event) holds; `at` is when it came."""
        for event in self.kept:
            if match(event):
                self.kept.remove(event)
                return event
        deadline = time.monotonic() + timeout
        while True:
            at, event = self.events.get(timeout=max(deadline - time.monotonic(), 0))
            assert event is not None, f"apictl has ended with {self.proc.wait()}: {self.kept}"
            event["at"] = at
            if match(event):
                return event
            self.kept.append(event)

    def done(self, name, timeout=TIMEOUT):
        return self.wait(lambda e: e["event"] == "done" and e["id"] == name, timeout)

    def data(self, name):
        return self.wait(lambda e: e["event"] == "data" and e["id"] == name)["data"]

    def get(self, path, *options, method="GET"):
        """One call, to its end."""
        self.count = getattr(self, "count", 0) + 1
        name = f"get{self.count}"
        self.do(method, name, path, *options)
        return self.done(name)

    def quit(self):
        """Its last report; it must end with status 0."""
        self.do("quit")
        end = self.wait(lambda e: e["event"] == "end")
        assert self.proc.wait(TIMEOUT) == 0
        return end

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
