"""What a client may do wrong on the wire, and what the server does then."""

import json
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
LONG = {**CHAT, "max_tokens": 4_000, "ignore_eos": True}
# More bytes than the kernel buffers for a reader that takes nothing.
LARGE = {**CHAT, "max_tokens": 1_900, "ignore_eos": True, "stream": True, "logprobs": True, "top_logprobs": 20, "n": 8}


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def read_all(sock) -> bytes:
    got = b""
    try:
        while piece := sock.recv(65_536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def exchange(server, data: bytes) -> bytes:
    with connect(server) as sock:
        sock.sendall(data)
        return read_all(sock)


def post(body, *headers: str, path="/v1/chat/completions") -> bytes:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: realm", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def read_answer(sock) -> tuple[int, bytes]:
    """One answer with a Content-Length, of a connection that stays open."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = sock.recv(65_536)
        assert piece, got
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += sock.recv(65_536)
    return status(head), body


CLOSE = "Connection: close"
BAD = {
    "no_http": (b"hello there\r\n\r\n", 400),
    "bad_version": (b"GET / HTTP/9.9\r\n\r\n", 400),
    "space_before_colon": (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "two_lengths": (post(CHAT, "Content-Length: 3"), 400),
    "length_and_chunks": (post(CHAT, "Transfer-Encoding: chunked"), 400),
    "negative_length": (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "huge_length": (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    "bad_chunk": (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "relative_target": (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "large_header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 17_000 + b"\r\n\r\n", 431),
    "many_headers": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 4_000 + b"\r\n", 431),
    "long_target": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "large_body": (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n", 413),
    "compressed": (post(CHAT, "Content-Encoding: gzip"), 415),
    "no_json": (post(b"{", CLOSE), 400),
    "no_object": (post(b"[]", CLOSE), 400),
    "deep": (post(b"[" * 100_000, CLOSE), 400),
    "no_utf8": (post(b'{"messages": "\xff"}', CLOSE), 400),
    "no_path": (post(CHAT, CLOSE, path="/v1/nothing"), 404),
    "bad_method": (b"DELETE /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
}


@pytest.fixture(scope="module")
def server(realm, tiny_model):
    from server_process import Server

    server = Server(realm.binary, tiny_model, "--head-timeout-ms", 500, "--body-timeout-ms", 500)
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_its_status(server, case):
    sent, wanted = BAD[case]
    answer = exchange(server, sent)
    assert status(answer) == wanted, answer[:500]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-request-id: " in head.lower()
    assert json.loads(body)["error"]["message"]
    assert status(exchange(server, post(CHAT, CLOSE))) == 200


def test_slow_heads_and_bodies_are_cut(server):
    with connect(server) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        assert status(read_all(sock)) == 408
    with connect(server) as sock:
        sock.sendall(post(CHAT)[:-5])
        assert status(read_all(sock)) == 408
    assert server.metric("realm_refused_total", limit="head_timeout") == 1
    assert server.metric("realm_refused_total", limit="body_timeout") == 1


def test_idle_connections_are_closed(start_server):
    server = start_server("--idle-timeout-ms", 300)
    with connect(server) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock)[0] == 200
        began = time.monotonic()
        assert read_all(sock) == b""
        assert time.monotonic() - began < 10


def test_a_connection_serves_many_requests(server):
    """However soon the next one comes."""
    request = post({**CHAT, "max_tokens": 1})
    with connect(server) as sock:
        for _ in range(1_000):
            sock.sendall(request)
            assert read_answer(sock)[0] == 200


def test_a_chunked_body_is_taken(server):
    body = json.dumps(CHAT).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(exchange(server, head + chunks)) == 200


def test_a_body_is_asked_for_when_the_client_waits(server):
    with connect(server) as sock:
        head, _, body = post(CHAT, "Expect: 100-continue").partition(b"\r\n\r\n")
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert read_answer(sock)[0] == 200


def test_pipelined_requests_get_one_answer_and_a_close(server):
    answer = exchange(server, post(CHAT) + post(CHAT))
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer.lower()


def test_http_1_0_streams_until_the_close(server):
    sent = post({**CHAT, "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    answer = exchange(server, sent)
    assert status(answer) == 200 and b"chunked" not in answer.lower()
    assert answer.endswith(b"data: [DONE]\n\n")


def test_request_ids_go_all_the_way(server):
    answer = exchange(server, post(CHAT, CLOSE, "X-Request-Id: my-own.id_7", "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01"))
    assert b"x-request-id: my-own.id_7" in answer
    server.wait_for(lambda: any(line["request_id"] == "my-own.id_7" and line["traceparent"] for line in server.logged("request")))
    for hostile in ("a" * 200, "two words", 'quo"te'):
        assert hostile.encode() not in exchange(server, post(CHAT, CLOSE, f"X-Request-Id: {hostile}"))


def test_connections_are_bounded(start_server):
    server = start_server("--max-connections", 8)
    held = [connect(server) for _ in range(8)]
    server.wait_for(lambda: exchange_or_reset(server) == b"")
    for sock in held:
        sock.close()

    def served():
        return exchange_or_reset(server).startswith(b"HTTP/1.1 200")

    server.wait_for(served)
    assert server.metric("realm_refused_total", limit="connections") >= 1


def exchange_or_reset(server) -> bytes:
    try:
        return exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    except (ConnectionResetError, BrokenPipeError):
        return b""


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_gone_client_ends_its_sequence(open_server, stream, phase):
    prompt = "word " * 3_000 if phase == "prefill" else "hi"
    gone = open_server.metric("realm_clients_gone_total")
    with connect(open_server) as sock:
        sock.sendall(post({**LONG, "stream": stream, "messages": [{"role": "user", "content": prompt}]}))
        if phase == "decode":
            made = open_server.metric("realm_batch_decode_tokens_total")
            open_server.wait_for(lambda: open_server.metric("realm_batch_decode_tokens_total") > made + 3)
        else:
            open_server.wait_for(lambda: open_server.metric("realm_num_sequences_running") == 1)
    open_server.wait_for(lambda: open_server.metric("realm_num_sequences_running") == 0, 5)
    open_server.wait_for(lambda: open_server.metric("realm_clients_gone_total") == gone + 1)


def test_a_reader_that_takes_nothing_is_dropped(start_server):
    server = start_server("--write-timeout-ms", 500)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.connect(("127.0.0.1", server.port))
    with sock:
        sock.sendall(post(LARGE))
        server.wait_for(lambda: server.metric("realm_clients_gone_total") == 1, 60)
    server.wait_for(lambda: server.metric("realm_num_sequences_running") == 0)


def test_tls_and_ipv6(start_server, tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    subprocess.run(made, check=True, capture_output=True)
    server = start_server("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem", "--host", "127.0.0.1", "--host", "::1")
    trust = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    for host in ("127.0.0.1", "::1"):
        with trust.wrap_socket(socket.create_connection((host, server.port), timeout=30), server_hostname=host) as sock:
            sock.sendall(post({**CHAT, "stream": True}, CLOSE))
            assert read_all(sock).rstrip().endswith(b"0")
    with connect(server) as plain:
        plain.sendall(post(CHAT))
        assert not read_all(plain).startswith(b"HTTP/1.1 200")
    assert trust.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_local_socket_is_the_owners(start_server):
    server = start_server()
    path = next(server.data.glob("*.sock"))
    assert path.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        sock.sendall(post(CHAT, CLOSE))
        assert status(read_all(sock)) == 200


def start_stream(server, body):
    sock = connect(server)
    sock.sendall(post({**body, "stream": True}, CLOSE))
    assert sock.recv(200).startswith(b"HTTP/1.1 200")
    return sock


def test_a_drain_lets_streams_finish(start_server):
    server = start_server("--ctx", 2_048, "--drain-timeout-ms", 120_000)
    waiting = connect(server)
    waiting.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
    with start_stream(server, {**LONG, "max_tokens": 1_000}) as sock:
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: any("draining" in line for line in server.lines))
        waiting.sendall(b"\r\n")
        assert status(read_all(waiting)) == 503
        assert b"data: [DONE]" in read_all(sock)
    assert server.process.wait(30) == 0


@pytest.mark.parametrize("how", ["deadline", "second_signal"])
def test_a_drain_ends(start_server, how):
    server = start_server("--drain-timeout-ms", 300 if how == "deadline" else 60_000, "--write-timeout-ms", 60_000)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.connect(("127.0.0.1", server.port))
    with sock:  # takes nothing: its stream would never end
        sock.sendall(post(LARGE))
        server.wait_for(lambda: server.metric("realm_num_sequences_running") > 0)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: any("draining" in line for line in server.lines))
        if how == "second_signal":
            server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_cors_is_off_unless_configured(server, start_server):
    asked = b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: http://page.test\r\nConnection: close\r\n\r\n"
    assert b"access-control-allow-origin" not in exchange(server, asked).lower()
    answer = exchange(start_server("--cors-origin", "http://page.test"), asked)
    assert status(answer) == 204 and b"access-control-allow-origin: http://page.test" in answer.lower()


def test_slow_clients_cost_others_nothing(server):
    slow = [connect(server) for _ in range(200)]
    for sock in slow:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Le")
    done = []

    def work():
        done.extend(status(exchange(server, post(CHAT, CLOSE))) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [200] * 20
    for sock in slow:
        assert status(read_all(sock)) == 408
        sock.close()
