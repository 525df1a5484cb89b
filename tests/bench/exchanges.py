# SPDX-License-Identifier: BSD-2-Clause
"""exchanges.py serve ADDRESS PORT: replies to each datagram 0.3 s later.
exchanges.py ask ADDRESS PORT: 300 exchanges, each from a port of its own, one every 5 ms; prints how many have no reply
within 3 s of the start of the last one."""

import collections
import select
import socket
import sys
import time

ROUND_TRIP = 0.3
COUNT = 300
EVERY = 0.005


def udp(address):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def serve(address, port):
    sock, waiting = udp(address), collections.deque()
    sock.bind((address, port))
    print("ready", flush=True)
    while True:
        left = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        if select.select([sock], [], [], left)[0]:
            data, source = sock.recvfrom(64)
            waiting.append((time.monotonic() + ROUND_TRIP, data, source))
        while waiting and waiting[0][0] <= time.monotonic():
            sock.sendto(*waiting.popleft()[1:])


def ask(address, port):
    asking = set()
    for _ in range(COUNT):
        sock = udp(address)
        sock.connect((address, port))
        sock.send(b"x")
        asking.add(sock)
        time.sleep(EVERY)
    deadline = time.monotonic() + 10 * ROUND_TRIP
    while asking and (left := deadline - time.monotonic()) > 0:
        for sock in select.select(asking, [], [], left)[0]:
            sock.recv(64)
            asking.remove(sock)
    print(len(asking))


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
