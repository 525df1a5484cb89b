# SPDX-License-Identifier: BSD-2-Clause
"""The API client against servers that fail as no real one does on request: they break off, stay silent, or show a wrong
certificate.
"""

import os
import queue
import subprocess
import time

import pytest

from agent_client import Apictl
from certificates import Authority
from fake_apiserver import ScriptedServer
from lab import Lab
from netns import TIMEOUT

SLACK = 20  # seconds: margin for a busy machine
DEAD_S = 30  # within this time a connection without acknowledgements ends


@pytest.fixture(scope="module")
def lab():
    """Two hosts; no Warren."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("api") / "ca")


@pytest.fixture(scope="module")
def certificate(ca):
    return ca.sign("server", *(f"IP:{a}" for a in Lab.WORLD.values()), "DNS:kubernetes.default.svc")


@pytest.fixture
def api_server(world, family, certificate):
    with ScriptedServer(world, family, certificate) as api_server:
        yield api_server


def url(api_server, family):
    host = Lab.WORLD[family] if family == 4 else f"[{Lab.WORLD[family]}]"
    return f"server=https://{host}:{api_server if isinstance(api_server, int) else api_server.port}"


@pytest.fixture
def api_client(node, api_server, family, ca):
    with Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
        yield api_client
        api_client.quit()


# --- answers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_requests_and_replies(api_client, api_server):
    api_server.answers["/body"] = lambda peer, request: peer.answer(request.body)
    done = api_client.get("/body?x=1", "text", "body={}", method="POST")
    assert (done["status"], done["errno"], done["error"]) == (200, 0, "")
    assert api_client.data("get1") == "{}"
    request = api_server.seen()
    assert (request.method, request.path) == ("POST", "/body?x=1")
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("warren-agent/")
    assert "authorization" not in request.headers
    assert api_client.get("/body", "accept=application/vnd.kubernetes.protobuf", method="DELETE")["status"] == 200
    request = api_server.seen()
    assert (request.method, request.headers["accept"]) == ("DELETE", "application/vnd.kubernetes.protobuf")
    assert "content-type" not in request.headers
    assert api_server.connections == 1


STATUS = b'{"kind": "Status", "message": "%s", "reason": "%s", "details": {"retryAfterSeconds": %d}}'
REFUSALS = {  # what the server sends: the result
    "410": ("410 Gone", STATUS % (b"too old", b"Expired", 0), {}, (410, "Expired", 0, "410 Gone: too old")),
    "409": ("409 Conflict", STATUS % (b"there is", b"AlreadyExists", 0), {}, (409, "AlreadyExists", 0, "there is")),
    "429": ("429 Too Many Requests", STATUS % (b"slower", b"TooManyRequests", 7), {}, (429, "TooManyRequests", 7, "slower")),
    "503, header": ("503 Service Unavailable", b"later", {"Retry-After": "11"}, (503, "", 11, "503 Service Unavailable")),
    "retry next year": ("429 x", b"", {"Retry-After": "99999999"}, (429, "", 3600, "429")),
    "not JSON": ("500 x", b"\xff<html>\x1b[2J", {}, (500, "", 0, ": 500")),
    "other JSON": ("500 x", b'{"message": 1, "reason": [], "details": 3}', {}, (500, "", 0, ": 500")),
    "control characters": ("500 x", STATUS % (b"a\\u001bb\\nc", b"R", 0), {}, (500, "R", 0, "a?b?c")),
    "redirect": ("302 Found", b"", {"Location": "/elsewhere"}, (302, "", 0, ": 302")),
    "redirect to http": ("301 x", b"", {"Location": "http://127.0.0.1/"}, (301, "", 0, ": 301")),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(api_client, api_server, what):
    status, body, headers, expected = REFUSALS[what]
    api_server.answers["/x"] = lambda peer, request: peer.answer(body, status, **headers)
    done = api_client.get("/x", "text")
    assert (done["status"], done["reason"], done["retry_after"]) == expected[:3]
    assert expected[3] in done["error"] and "/x" in done["error"] and done["error"].isprintable()
    assert done["errno"] != 0 and done["pieces"] == 0
    assert api_server.seen().path == "/x" and api_server.requests.empty()


def test_endless_refusal(api_client, api_server):
    """The body of an error is neither read without end nor kept."""

    def endless(peer, request):
        peer.send(b"HTTP/1.1 500 x\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    api_server.answers["/x"] = endless
    assert api_client.get("/x")["errno"] != 0
    assert api_client.get("/y")["status"] == 200


def test_large_body(node, api_server, family, ca):
    """It goes through in pieces, and memory does not grow."""

    def large(peer, request):
        peer.stream()
        for _ in range(100):
            peer.chunk(b"x" * (1 << 20))
        peer.chunk(b"")

    api_server.answers["/x"] = large
    with Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
        before = api_client.get("/small")
        done = api_client.get("/x")
        assert (done["status"], done["bytes"], before["status"]) == (200, 100 << 20, 200)
        assert api_client.quit()["maxrss_kb"] < 24 << 10


def test_stream(api_client, api_server):
    """Each piece comes when it is sent, not when there are more."""
    streams = queue.Queue()

    def stream(peer, request):
        peer.stream()
        streams.put(peer)
        peer.wait()

    api_server.answers["/x"] = stream
    api_client.do("GET", "s", "/x?watch=1", "text")
    api_server.seen()
    peer = streams.get(timeout=TIMEOUT)
    for i in range(3):
        peer.chunk(b"piece %d\n" % i)
        assert api_client.data("s") == f"piece {i}\n"
    peer.chunk(b"")
    assert api_client.done("s")["status"] == 200


def test_many_at_once(api_client, api_server):
    for i in range(100):
        api_client.do("GET", i, f"/{i}")
    assert all(api_client.done(str(i))["status"] == 200 for i in range(100))


# --- broken answers -----------------------------------------------------------------------------------------------------------


def garbage(peer, request):
    peer.send(os.urandom(4096))
    peer.sock.unwrap()


def half_body(peer, request):
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    peer.sock.unwrap()


def half_chunk(peer, request):
    peer.stream()
    peer.send(b"100\r\nhalf")
    peer.sock.unwrap()


def wrong_chunk(peer, request):
    peer.stream()
    peer.send(b"zz\r\nhalf\r\n")
    peer.wait()


def half_head(peer, request):
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.sock.unwrap()


def nothing(peer, request):
    peer.sock.unwrap()


def reset(peer, request):
    peer.reset()


def reset_half_way(peer, request):
    peer.stream()
    peer.chunk(b"half")
    peer.reset()


def endless_line(peer, request):
    peer.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        peer.send(b"x" * 65536)


def endless_headers(peer, request):
    """Each header is valid; libcurl itself limits their number only in later versions."""
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.send(b"X-Header: y\r\n" * 5000)


BROKEN = [
    garbage, half_body, half_chunk, wrong_chunk, half_head, nothing, reset, reset_half_way, endless_line, endless_headers,
]


@pytest.mark.smoke
@pytest.mark.parametrize("answer", BROKEN)
def test_broken_answers(api_client, api_server, answer):
    """They are no replies, and the next call gets a usable connection."""
    api_server.answers["/x"] = answer
    done = api_client.get("/x?secret", "text")
    assert done["status"] == 0 and done["errno"] != 0
    assert "GET /x?secret: " in done["error"] and done["error"].isprintable()
    assert api_client.get("/y")["status"] == 200


def test_refused_by_the_caller(api_client, api_server):
    api_server.answers["/x"] = lambda peer, request: peer.answer(b"x" * 1000)
    done = api_client.get("/x", "refuse=1")
    assert (done["status"], done["errno"]) == (0, 74)  # EBADMSG
    assert api_client.get("/y")["status"] == 200


# --- time ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_silence_ends_a_stream_and_a_little_life_does_not(api_client, api_server):
    def stream(peer, request):
        peer.stream()
        for _ in range(6 if "alive" in request.path else 0):
            peer.chunk(b".")
            time.sleep(0.7)
        peer.wait()

    api_server.answers["/x"] = stream
    start = time.monotonic()
    api_client.do("GET", "silent", "/x", "silence=3")
    api_client.do("GET", "alive", "/x?alive", "silence=3")
    silent, alive = api_client.done("silent"), api_client.done("alive")
    assert (silent["errno"], alive["errno"], alive["pieces"]) == (110, 110, 6)
    assert "nothing received for 3 s" in silent["error"]
    assert 2.9 < silent["at"] - start < 3 + SLACK
    assert 6.4 < alive["at"] - start < 7 + SLACK


def test_whole_time(api_client, api_server):
    def dribble(peer, request):
        peer.stream()
        while True:
            peer.chunk(b".")
            time.sleep(0.1)

    api_server.answers["/x"] = dribble
    start = time.monotonic()
    done = api_client.get("/x", "timeout=1")
    assert done["errno"] == 110 and "not complete after 1 s" in done["error"]
    assert 0.9 < done["at"] - start < 1 + SLACK


def test_timers(api_client):
    api_client.do("after c 300\nafter a 0\nafter b 100")  # at once, or the first could be over before the last begins
    assert [api_client.wait(lambda e: e["event"] == "time")["id"] for _ in range(3)] == ["a", "b", "c"]


@pytest.mark.long
def test_an_idle_client_is_not_woken(node, api_server, family, ca):
    """A watch without events costs no processor time."""
    api_server.answers["/x"] = lambda peer, request: (peer.stream(), peer.wait())
    with Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
        api_client.do("GET", "s", "/x?watch=1", "silence=60")
        api_server.seen()
        api_client.do("after", "t", 3000)
        api_client.wait(lambda e: e["event"] == "time")
        assert api_client.quit()["turns"] < 15


# --- dead servers -------------------------------------------------------------------------------------------------------------


def drop(host, port):
    host.run("nft", "-f", "-", input=f"""
        table inet dead {{
            chain input {{ type filter hook input priority 0; tcp dport {port} drop; }}
            chain output {{ type filter hook output priority 0; tcp sport {port} drop; }}
        }}""")


def undrop(host):
    host.run("nft", "delete", "table", "inet", "dead")


@pytest.mark.long
def test_dead_connections_are_noticed(node, world, certificate, ca):
    """Without an RST and without a time limit: a stream without data, and a request without an acknowledgement."""
    families, port = (4, 6), 7443
    servers = {f: ScriptedServer(world, f, certificate, port=port, address=Lab.WORLD[f]) for f in families}
    clients = {f: Apictl(node, url(servers[f], f), f"ca={ca.ca}") for f in families}
    for f in families:
        servers[f].answers["/x"] = lambda peer, request: (peer.stream(), peer.wait())
        clients[f].do("GET", "idle", "/x?watch=1")
        servers[f].seen()
        assert clients[f].get("/y")["status"] == 200
        assert servers[f].connections == 2
    drop(world, port)
    start = time.monotonic()
    try:
        for f in families:
            clients[f].do("GET", "asked", "/y")
        for f in families:
            for name in ("idle", "asked"):
                done = clients[f].done(name, DEAD_S + 10 + SLACK)
                assert (done["status"], done["errno"] != 0) == (0, True)
                # libcurl makes another connection for what was lost with one that had been kept.
                assert 12 < done["at"] - start <= DEAD_S + (10 if name == "asked" else 0) + SLACK
    finally:
        undrop(world)
    for f in families:
        assert clients[f].get("/y")["status"] == 200
        clients[f].quit()
        servers[f].close()


@pytest.mark.long
def test_the_next_server_is_tried(node, world, api_server, family, certificate, ca):
    """One that refuses, one that is silent, one that replies: all calls reach the last within the time of one attempt."""
    with ScriptedServer(world, family, certificate) as silent:
        drop(world, silent.port)
        try:
            with Apictl(node, url(1, family), url(silent, family), url(api_server, family), f"ca={ca.ca}") as api_client:
                start = time.monotonic()
                for i in range(7):
                    api_client.do("GET", i, "/x")
                done = [api_client.done(str(i)) for i in range(7)]
                assert [d["status"] for d in done] == [200] * 7
                assert max(d["at"] for d in done) - start < 10 + SLACK
                start = time.monotonic()
                assert api_client.get("/x")["at"] - start < 10  # it is remembered
                api_client.quit()
        finally:
            undrop(world)


class Named:
    """Programs there find these addresses by the name api.example."""

    def __init__(self, netns, directory, *addresses):
        self.netns, self.hosts = netns, directory / "hosts"
        self.hosts.write_text("".join(f"{address} api.example\n" for address in addresses))

    def popen(self, *argv, **options):
        script = 'mount --bind "$0" /etc/hosts; exec "$@"'
        return self.netns.popen("unshare", "--mount", "sh", "-ec", script, self.hosts, *argv, **options)


@pytest.mark.parametrize("verdict", [pytest.param("reject with tcp reset", id="refused"), pytest.param("drop", id="silent", marks=pytest.mark.long)])
def test_the_next_address_of_a_name_is_tried(node, world, api_server, family, ca, tmp_path, verdict):
    """Whichever of them it is that fails: within the time of one attempt."""
    addresses = (Lab.WORLD[family], Lab.BEYOND[family])
    server = f"server=https://api.example:{api_server.port},kubernetes.default.svc"
    for address in addresses:
        match = f"ip{'6' * (family == 6)} daddr {address} tcp dport {api_server.port}"
        hook = "type filter hook input priority 0;"
        world.run("nft", "-f", "-", input=f"table inet dead {{ chain input {{ {hook} {match} {verdict}; }}; }}")
        try:
            with Apictl(Named(node, tmp_path, *addresses), server, f"ca={ca.ca}") as api_client:
                assert api_client.get("/x")["status"] == 200
                api_client.quit()
        finally:
            undrop(world)


def test_the_first_server_is_preferred_when_the_one_in_use_ends(node, world, api_server, family, certificate, ca):
    with ScriptedServer(world, family, certificate) as first:
        port = first.port
        with Apictl(node, url(first, family), url(api_server, family), f"ca={ca.ca}") as api_client:
            assert api_client.get("/x")["server"] == url(first, family)[7:]
            first.close()
            wait = api_client.get("/x")
            # The request may still have found the connection open; no request is ever sent twice.
            if wait["status"] == 0:
                wait = api_client.get("/x")
            assert (wait["status"], wait["server"]) == (200, url(api_server, family)[7:])
            with ScriptedServer(world, family, certificate, port=port):
                api_server.close()
                api_client.get("/x")
                assert api_client.get("/x")["server"] == url(port, family)[7:]
            done = api_client.get("/x")
            done = api_client.get("/x") if "no API server" not in done["error"] else done
            assert "no API server can be reached" in done["error"] and str(port) in done["error"]
            api_client.quit()


@pytest.mark.long
def test_a_faulty_server_is_replaced(node, world, api_server, family, certificate, ca):
    """It accepts connections, and is silent or replies with errors only: a server that starts gets time, one that stays
    so is given up.
    """
    with ScriptedServer(world, family, certificate) as ill, Apictl(node, url(ill, family), url(api_server, family), f"ca={ca.ca}") as api_client:
        ill.answers["/x"] = lambda peer, request: peer.answer(b"", "503 Service Unavailable")
        start = time.monotonic()
        for i in range(200):
            done = api_client.get("/x")
            if done["status"] != 503:
                break
            api_client.do("after", f"t{i}", 500)
            api_client.wait(lambda e: e["event"] == "time")
        assert (done["status"], done["server"]) == (200, url(api_server, family)[7:])
        assert 29 < done["at"] - start < 60
        api_server.answers["/y"] = ill.answers["/y"] = lambda peer, request: (peer.stream(), peer.wait())
        assert api_client.get("/y", "silence=1")["errno"] == 110
        done = api_client.get("/z")
        assert (done["status"], done["server"]) == (200, url(ill, family)[7:])
        api_client.quit()


@pytest.mark.long
def test_other_servers_while_calls_run(node, world, api_server, family, certificate, ca):
    api_server.answers["/x"] = lambda peer, request: (peer.stream(), peer.chunk(b"begin"), peer.wait())
    with ScriptedServer(world, family, certificate) as other, Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
        api_client.do("GET", "s", "/x", "text", "silence=3")
        assert api_client.data("s") == "begin"
        api_client.do("servers", url(other, family)[7:])
        assert api_client.get("/y")["server"] == url(other, family)[7:]
        assert api_client.done("s")["errno"] == 110
        api_client.quit()
    assert other.seen().path == "/y"


# --- who it is ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impostors(ca, tmp_path_factory):
    """{what is wrong: (certificate, key)}"""
    addresses = [f"IP:{a}" for a in Lab.WORLD.values()]
    other = Authority(tmp_path_factory.mktemp("api") / "other")
    return {
        "another CA": other.sign("server", *addresses),
        "expired": ca.sign("expired", *addresses, days=(-2, -1)),
        "not valid yet": ca.sign("tomorrow", *addresses, days=(1, 2)),
        "another name": ca.sign("named", "DNS:elsewhere", "IP:192.0.2.1"),
        "no name": ca.sign("no-name"),
        "no TLS": None,
    }


@pytest.mark.parametrize("what", ["another CA", "expired", "not valid yet", "another name", "no name", "no TLS"])
@pytest.mark.parametrize("name", ["", ",kubernetes.default.svc"])
def test_impostors_get_no_request(node, world, family, ca, impostors, tmp_path, what, name):
    token = tmp_path / "token"
    token.write_text("secret")
    with ScriptedServer(world, family, impostors[what]) as api_server:
        with Apictl(node, url(api_server, family) + name, f"ca={ca.ca}", f"token={token}") as api_client:
            done = api_client.get("/x")
            assert done["status"] == 0 and done["errno"] != 0
            if what != "no TLS":
                assert done["errno"] == 129 and done["hint"]  # EKEYREJECTED
            assert "secret" not in done["error"]
            api_client.quit()
        assert api_server.requests.empty()


def test_by_another_name(node, world, family, ca):
    """A server whose certificate has no address: the Service's name is verified, and sent to it, too (SNI)."""
    names = []
    with ScriptedServer(world, family, ca.sign("service", "DNS:kubernetes.default.svc")) as api_server:
        api_server.context.sni_callback = lambda sock, name, context: names.append(name)
        with Apictl(node, url(api_server, family), url(api_server, family) + ",kubernetes.default.svc", f"ca={ca.ca}") as api_client:
            assert api_client.get("/x")["status"] == 200
            api_client.quit()
    assert names[-1] == "kubernetes.default.svc"
    assert api_server.seen().headers["host"] == f"kubernetes.default.svc:{api_server.port}"


def test_only_the_given_ca_is_trusted(node, world, family, impostors, ca):
    """Not the system's CAs besides, which libcurl trusts by default."""
    certificate, _ = impostors["another CA"]
    store = certificate.parent / "store"
    if not store.exists():
        store.mkdir()
        (store / "other.pem").write_bytes((certificate.parent / "ca.crt").read_bytes())
        subprocess.run(["openssl", "rehash", store], check=True, capture_output=True)
    with ScriptedServer(world, family, impostors["another CA"]) as api_server:
        node.run("mount", "--bind", store, "/etc/ssl/certs")
        try:
            with Apictl(node, url(api_server, family)) as api_client:
                # The system's bundle, one file, is not there either: its directory is what is trusted.
                assert api_client.get("/x")["errno"] != 0
                api_client.quit()
            with Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
                assert api_client.get("/x")["errno"] == 129
                api_client.quit()
        finally:
            node.run("umount", "/etc/ssl/certs")
        assert api_server.requests.empty()


def test_client_certificates(node, world, family, ca, certificate):
    own, key = ca.sign("agent")
    with ScriptedServer(world, family, certificate, client_ca=ca.ca) as api_server:
        with Apictl(node, url(api_server, family), f"ca={ca.ca}", f"cert={own}", f"key={key}") as api_client:
            assert api_client.get("/x")["status"] == 200
            api_client.quit()
        with Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
            assert api_client.get("/x")["status"] == 0
            api_client.quit()


# --- who we are ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def account(tmp_path):
    """A service account's volume as kubelet makes it: ..data leads to the directory of the day."""
    days = iter(range(10))

    def write(token):
        directory = tmp_path / f"day{next(days)}"
        directory.mkdir()
        (directory / "token").write_text(token)
        (tmp_path / "new").symlink_to(directory)
        (tmp_path / "new").rename(tmp_path / "data")

    write("first\n")
    (tmp_path / "token").symlink_to("data/token")
    write.token = tmp_path / "token"
    return write


def test_token_is_read_again(node, api_server, family, ca, account):
    with Apictl(node, url(api_server, family), f"ca={ca.ca}", f"token={account.token}") as api_client:
        for token in ("first", "second"):
            if token == "second":
                account("second")
            assert api_client.get("/x")["status"] == 200
            assert api_server.seen().headers["authorization"] == f"Bearer {token}"
        account.token.unlink()  # the previous token is used until there is another
        assert api_client.get("/x")["status"] == 200
        assert api_server.seen().headers["authorization"] == "Bearer second"
        api_client.quit()


def test_token_that_is_not_accepted_is_read_again_whatever_its_file_looks_like(node, api_server, family, ca, tmp_path):
    token = tmp_path / "token"
    token.write_text("wrong")
    stat = token.stat()

    def check(peer, request):
        peer.answer(status="200 OK" if request.headers["authorization"] == "Bearer right" else "401 Unauthorized")

    api_server.answers["/x"] = check
    with Apictl(node, url(api_server, family), f"ca={ca.ca}", f"token={token}") as api_client:
        assert api_client.get("/y")["status"] == 200
        token.write_text("right")
        os.utime(token, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        done = api_client.get("/x")
        assert (done["status"], done["errno"]) == (401, 13)
        assert api_client.get("/x")["status"] == 200
        api_client.quit()


@pytest.mark.parametrize("token", ["", "two\r\nX-Header: lines", "a b", "x" * 40000])
def test_what_is_no_token_is_not_sent(node, api_server, family, ca, tmp_path, token):
    (tmp_path / "token").write_bytes(token.encode())
    with Apictl(node, url(api_server, family), f"ca={ca.ca}", f"token={tmp_path / 'token'}") as api_client:
        done = api_client.get("/x")
        assert done["status"] == 0 and str(tmp_path / "token") in done["error"]
        api_client.quit()
    assert api_server.connections == 0


def test_proxies_of_the_environment_are_not_used(node, world, api_server, family, ca):
    with ScriptedServer(world, family) as proxy:
        env = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "http_proxy"),
                            url(proxy, family).replace("server=https", "http"))
        with Apictl(node, url(api_server, family), f"ca={ca.ca}", env=env) as api_client:
            assert api_client.get("/x")["status"] == 200
            api_client.quit()
        assert proxy.connections == 0


# --- ends from within -------------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_calls_are_cancelled_from_within_callbacks(api_client, api_server):
    api_server.answers["/x"] = lambda peer, request: (peer.stream(), peer.chunk(b"begin"), peer.wait())
    api_client.do("GET", "other", "/x", "text")
    assert api_client.data("other") == "begin"
    api_client.do("GET", "itself", "/x", "cancel=itself")
    api_client.wait(lambda e: e["event"] == "cancelled" and e["id"] == "itself")
    api_client.do("GET", "third", "/x", "cancel=other")
    api_client.wait(lambda e: e["event"] == "cancelled" and e["id"] == "other")
    api_client.do("cancel", "third")
    api_client.wait(lambda e: e["event"] == "cancelled" and e["id"] == "third")
    api_client.do("GET", "soon", "/x")
    api_client.do("cancel", "soon")
    assert api_client.get("/y")["status"] == 200
    assert not [e for e in api_client.kept if e["event"] == "done"]


def test_calls_are_started_from_within_callbacks(api_client, api_server):
    api_client.do("GET", "a", "/x", "then=/y")
    assert [api_client.done("a")["status"] for _ in range(2)] == [200, 200]
    assert [api_server.seen().path for _ in range(2)] == ["/x", "/y"]


@pytest.mark.smoke
@pytest.mark.parametrize("when", ["close", "end-close"])
def test_all_ends_from_within_a_callback(node, api_server, family, ca, when):
    api_server.answers["/x"] = lambda peer, request: (peer.stream(), peer.chunk(b"begin"), peer.wait())
    with Apictl(node, url(api_server, family), f"ca={ca.ca}") as api_client:
        for i in range(3):
            api_client.do("GET", i, "/x", "text")
            assert api_client.data(str(i)) == "begin"
        api_client.do("after", "t", 3600000)
        api_client.do("GET", "last", "/y", when)
        api_client.wait(lambda e: e["event"] == "closed")
        api_client.wait(lambda e: e["event"] == "end")
        assert api_client.proc.wait(TIMEOUT) == 0
