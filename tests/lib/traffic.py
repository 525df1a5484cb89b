# SPDX-License-Identifier: BSD-2-Clause
"""Traffic between two namespaces that continues while a test does something else."""

import contextlib
import select
import socket
import struct
import threading
import time

from netns import TIMEOUT, wait_for


def seconds_until_answered(client, server, family, limit=TIMEOUT, begin=None, wait=0.02):
    """Seconds from begin() until one of many datagrams, `wait` seconds apart, has a reply; None: none within `limit`
    seconds.
    """
    address = server.ips[family]
    with server.udp(family, address=address) as b, client.udp(family) as a:
        a.connect((address, b.getsockname()[1]))
        for sock in (a, b):
            sock.settimeout(wait)
        started = time.monotonic()
        if begin:
            begin()
        while time.monotonic() < started + limit:
            with contextlib.suppress(OSError):
                a.send(b"there")
                data, source = b.recvfrom(64)
                b.sendto(data, source)
                a.recv(64)
                return time.monotonic() - started
    return None


class Worker(threading.Thread):
    """A thread that calls turn() until it is closed; close() raises the exception that ended it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ended, self.error = threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.ended.is_set():
                self.turn()
        except BaseException as error:
            self.error = error

    def close(self):
        self.ended.set()
        self.join()
        if self.error:
            raise self.error

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.close()


class Transfer(Worker):
    """A TCP connection from `client` to `server` that carries 1000 bytes a millisecond, up or (`down`) back.

    `last`: when bytes last arrived; `got`: how many there were; `sent`: how many had been sent, or were about to be.
    """

    def __init__(self, client, server, address, port=0, listen_port=0, down=False, half_closed=False):
        family = 6 if ":" in address else 4
        with server.tcp_listen(family, listen_port) as listener:
            self.a = client.tcp_connect(address, port or listener.getsockname()[1])
            self.b, _ = listener.accept()
        self.source, self.sink = (self.b, self.a) if down else (self.a, self.b)
        if half_closed:
            self.sink.shutdown(socket.SHUT_WR)
        for sock in (self.a, self.b):
            sock.setblocking(False)
        self.got, self.sent, self.last, self.arrived = 0, 0, 0.0, threading.Condition()
        super().__init__()

    def turn(self):
        self.sent += 1000
        try:
            count = self.source.send(bytes(1000))
        except BlockingIOError:
            count = 0
        self.sent += count - 1000
        if select.select([self.sink], [], [], 0.001)[0]:
            data = self.sink.recv(1 << 16)
            assert data, "the connection has ended"
            with self.arrived:
                self.got += len(data)
                self.last = time.monotonic()
                self.arrived.notify_all()

    def wait_more(self, size=1, timeout=TIMEOUT):
        """Until `size` more bytes have arrived."""
        with self.arrived:
            goal = self.got + size
            assert self.arrived.wait_for(lambda: self.error or self.got >= goal, timeout), "nothing arrives"
            assert not self.error, self.error

    @property
    def retransmits(self):
        """Segments that were lost and retransmitted. Not those that were only late, on a busy machine: for these the
        receiver sends a DSACK (RFC 2883).
        """

        def lost():
            info = self.source.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 224)
            total, twice = struct.unpack_from("<I", info, 100)[0], struct.unpack_from("<I", info, 216)[0]
            return max(total - twice, 0)  # tcpi_total_retrans, tcpi_dsack_dups

        with contextlib.suppress(AssertionError):
            wait_for(lambda: not lost(), "what the receiver says of what was sent again", timeout=5)
        return lost()

    def pause(self):
        """No bytes from here on; the connection stands."""
        super().close()

    def close(self):
        self.pause()
        for sock in (self.a, self.b):
            sock.close()


class Datagrams(Worker):
    """Numbered datagrams from one connected socket to another, one every half millisecond, each echoed."""

    def __init__(self, client, server, address, listen_address=None, port=0, listen_port=0):
        family = 6 if ":" in address else 4
        self.b = server.udp(family, listen_port, listen_address or address)
        self.a = client.udp(family)
        self.a.connect((address, port or self.b.getsockname()[1]))
        for sock in (self.a, self.b):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sent, self.heard, self.answered = 0, set(), set()
        super().__init__()

    def turn(self):
        with contextlib.suppress(BlockingIOError):  # while earlier ones wait for a neighbour
            self.a.send(struct.pack("<Q", self.sent))
            self.sent += 1
        self.collect()
        self.ended.wait(0.0005)

    def collect(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = self.b.recvfrom(64)
                self.heard.add(struct.unpack("<Q", data)[0])
                self.b.sendto(data, source)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.answered.add(struct.unpack("<Q", self.a.recv(64))[0])

    def wait_more(self, count=20):
        goal = self.sent + count
        wait_for(lambda: self.error or self.sent >= goal, "datagrams are sent")

    def finish(self, timeout=TIMEOUT):
        """Ends it; {number} of the datagrams that were lost, there or back. `timeout`: less where some will be."""
        self.close()

        def complete():
            self.collect()
            return len(self.answered) == self.sent

        with contextlib.suppress(AssertionError):
            wait_for(complete, "all answers", timeout=timeout)
        for sock in (self.a, self.b):
            sock.close()
        return set(range(self.sent)) - self.answered


class Denied(Worker):
    """Datagrams from a pod that its policy or its receiver's denies."""

    def __init__(self, client, server, address, port=0):
        family = 6 if ":" in address else 4
        self.b = server.udp(family, port, address)
        self.b.setblocking(False)
        self.a = client.udp(family)
        self.a.connect((address, self.b.getsockname()[1]))
        self.count = 0
        super().__init__()

    def turn(self):
        with contextlib.suppress(ConnectionRefusedError):
            self.a.send(b"denied")
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"a denied datagram arrived: {self.b.recv(64)}")
        self.ended.wait(0.001)


class Connections(Worker):
    """New connections, one after the other, each with a byte there and back.

    One that begins in the moment of the change may have to send its SYN or SYN-ACK again, after a second; it must not fail.
    """

    def __init__(self, client, server, address):
        self.client, self.listener = client, server.tcp_listen(6 if ":" in address else 4)
        self.target = (address, self.listener.getsockname()[1])
        self.count, self.delayed = 0, 0
        super().__init__()

    def turn(self):
        begin = time.monotonic()
        with self.client.tcp_connect(*self.target) as a, self.listener.accept()[0] as b:
            for source, sink in ((a, b), (b, a)):
                sink.settimeout(TIMEOUT)
                source.send(b"x")
                assert sink.recv(1) == b"x"
        self.delayed += time.monotonic() - begin > 0.9
        self.count += 1
        self.ended.wait(0.001)


class AllTraffic:
    """Flows of all kinds from pod `client` to the pods `servers`, and those that policy denies, from pod `denied`. None may
    notice anything. `services`: (address, port, pod behind it, its port) of Services.
    """

    def __init__(self, client, servers, denied, services):
        self.stack = contextlib.ExitStack()
        enter = self.stack.enter_context
        paths = [(server, address) for server in servers for address in server.ips.values()]
        self.transfers = [enter(Transfer(client, *path, down=down)) for path in paths for down in (False, True)]
        self.datagrams = [enter(Datagrams(client, *path)) for path in paths]
        for address, port, server, target in services:
            own = server.ips[6 if ":" in address else 4]
            self.transfers.append(enter(Transfer(client, server, address, port, target)))
            self.datagrams.append(enter(Datagrams(client, server, address, own, port, target)))
        self.connections = [enter(Connections(client, *path)) for path in paths]
        self.denied = [enter(Denied(denied, *path)) for path in paths]
        self.wait_more()

    def wait_more(self):
        for transfer in self.transfers:
            transfer.wait_more(10000)
        for flow in self.datagrams:
            flow.wait_more(100)
        for worker in (*self.connections, *self.denied):
            count = worker.count + 5
            wait_for(lambda: worker.error or worker.count >= count, "connections")

    def finish(self, lossless=True):
        """Fails if a connection was cut or a denied datagram has passed; `lossless`: or a packet was lost."""
        self.wait_more()
        lost = [len(flow.finish()) for flow in self.datagrams]
        again = [transfer.retransmits for transfer in self.transfers]
        delayed = sum(connection.delayed for connection in self.connections)
        self.stack.close()
        assert all(worker.count for worker in (*self.connections, *self.denied))
        if lossless:
            assert not any(lost) and not any(again), (lost, again)
        print(f"{sum(c.count for c in self.connections)} connections, {delayed} of them delayed")
        assert delayed <= 2 * len(self.connections)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.stack.close()
