# SPDX-License-Identifier: BSD-2-Clause
"""Packets as bytes: the few that raw sockets send, and to which flow a frame belongs."""

import socket
import struct

IPPROTO_SCTP = 132
SCTP_INIT, SCTP_INIT_ACK = 1, 2
ECHO = {4: (8, 0), 6: (128, 129)}  # request, reply
ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
PROTOCOLS = {6: "tcp", 17: "udp", IPPROTO_SCTP: "sctp", ICMP[4]: "icmp", ICMP[6]: "icmp"}


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_packet(sport, dport, chunk, data=b""):
    """Header (RFC 9260, 3.1) and one INIT or INIT ACK chunk, checksum included; data behind it."""
    body = struct.pack("!BBHIIHHI", chunk, 0, 20, 0x1234, 65536, 1, 1, 0x4321) + data
    head = struct.pack("!HHI", sport, dport, 0)
    return head + struct.pack("<I", crc32c(head + b"\0\0\0\0" + body)) + body


def sctp_ports(packet):
    """Of one with a right checksum."""
    assert struct.unpack_from("<I", packet, 8)[0] == crc32c(packet[:8] + b"\0\0\0\0" + packet[12:]), packet
    return struct.unpack_from("!HH", packet)


def echo_request(family, ident, number=1):
    head = struct.pack("!BBHHH", ECHO[family][0], 0, 0, ident, number)
    if family == 4:
        head = head[:2] + struct.pack("!H", checksum(head)) + head[4:]
    return head


def raw_payload(family, data):
    """What a raw socket has received, without the IP header that it has for IPv4."""
    return data[(data[0] & 15) * 4 :] if family == 4 else data


def flow_of(frame):
    """(protocol, source, source port, destination, destination port) of an Ethernet frame, None: it is of no flow.

    An echo request has its identifier as source port and 0 as destination port, other ICMP messages have no ports.
    """
    ethertype = frame[12:14]
    if ethertype == b"\x08\x00" and len(frame) >= 34:
        family, at, number, ends = 4, 14 + (frame[14] & 15) * 4, frame[23], (frame[26:30], frame[30:34])
    elif ethertype == b"\x86\xdd" and len(frame) >= 54:
        family, at, number, ends = 6, 54, frame[20], (frame[22:38], frame[38:54])
    else:
        return None
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
    source, destination = (socket.inet_ntop(kind, end) for end in ends)
    protocol = PROTOCOLS.get(number)
    if not protocol or len(frame) < at + 8:
        return None
    if protocol == "icmp":
        ident = struct.unpack_from("!H", frame, at + 4)[0] if frame[at] == ECHO[family][0] else None
        return protocol, source, ident, destination, 0
    sport, dport = struct.unpack_from("!HH", frame, at)
    return protocol, source, sport, destination, dport
