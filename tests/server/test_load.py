"""`realm bench`: load for any server with OpenAI's API. What it reports has to be what the server did."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server_process import Server

GAP_S = 0.05


@pytest.fixture(scope="module")
def server(realm, tiny_model):
    server = Server(realm.binary, tiny_model, "--ctx", 512)
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def keys(server, tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("".join(server.key(f"customer-{i}") + "\n" for i in range(4)))
    return file


class Scripted:
    """A server of another make: it answers each request as `pieces` says, with a pause before each piece."""

    def __init__(self, pieces, ending="data: [DONE]\n\n"):
        self.bodies = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.bodies.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for piece in pieces:
                    time.sleep(GAP_S)
                    event = {"choices": [{"index": 0, "delta": {"content": piece}}]}
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.write(ending.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def load(realm, url, *args, code=0):
    done = realm.run("bench", "--endpoint", url, "--json", *args)
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)


def test_what_it_counts_is_what_the_server_charged(realm, server, keys):
    report = load(realm, server.url, "--keys", keys, "--streams", 8, "--chats", 12, "--turns", 2, "--prompt-words", "4:40", "-n", "5:20")
    assert (report["requests"], report["requests_failed"], report["customers"]) == (24, 0, 4)
    server.wait_for(lambda: sum(row["requests"] for row in server.cli("usage")["data"]) == 24, 20)
    used = server.cli("usage")["data"]
    assert sum(row["prompt_tokens"] for row in used) == report["prompt_tokens"] > 0
    assert sum(row["completion_tokens"] for row in used) == report["output_tokens"] >= 24 * 5
    assert report["output_tokens_per_second"] == pytest.approx(report["output_tokens"] / report["seconds"])
    assert 0.25 <= report["jain"] <= 1


def test_the_same_seed_gives_the_same_chats(realm, server, keys):
    args = ("--keys", keys, "--streams", 3, "--chats", 9, "--prompt-words", "4:60", "-n", "2:9", "--system-words", 10)
    one, same, other = (load(realm, server.url, *args, "--seed", seed) for seed in (7, 7, 8))
    counts = [(report["prompt_tokens"], report["output_tokens"]) for report in (one, same, other)]
    assert counts[0] == counts[1] != counts[2]


def test_times_are_those_of_the_pieces(realm):
    with Scripted(["a", "b", "c", "d"]) as other:
        report = load(realm, other.url + "/v1/", "--streams", 2, "--chats", 4, "--model", "m", "--fields", '{"top_k": 3}')
    assert (report["requests"], report["output_tokens"]) == (4, 16)
    assert report["first_token_ms"]["p50"] >= GAP_S * 1_000 and report["between_tokens_ms"]["p50"] >= GAP_S * 900
    assert report["request_ms"]["p50"] >= 4 * GAP_S * 1_000
    path, body = other.bodies[0]
    assert path == "/v1/chat/completions" and body["model"] == "m" and body["top_k"] == 3 and body["stream"] is True


def test_the_servers_count_of_tokens_goes_before_the_pieces(realm):
    ending = 'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}\n\ndata: [DONE]\n\n'
    with Scripted(["a", "b", "\ufffd"], ending) as other:
        report = load(realm, other.url, "--chats", 2)
    assert (report["prompt_tokens"], report["output_tokens"]) == (10, 4)


def test_a_request_that_waits_for_a_stream_counts_from_when_it_was_due(realm):
    with Scripted(["a"] * 8) as other:
        report = load(realm, other.url, "--streams", 1, "--chats", 6, "--rate", 1_000)
    assert report["first_token_ms"]["max"] >= 5 * 8 * GAP_S * 1_000
    assert report["good_requests_per_second"] < 6 / report["seconds"]


def test_later_turns_hold_what_was_said(realm):
    with Scripted(["Hello", " there"]) as other:
        load(realm, other.url, "--chats", 1, "--turns", 3, "--system-words", 5, "--prompt-words", 2)
    roles = [[message["role"] for message in body["messages"]] for _, body in other.bodies]
    assert roles == [["system", "user"], ["system", "user", "assistant", "user"],
                     ["system", "user", "assistant", "user", "assistant", "user"]]
    assert other.bodies[2][1]["messages"][2]["content"] == "Hello there"


def test_failures_are_told_and_make_it_fail(realm, server, tmp_path):
    (tmp_path / "keys").write_text("nobody's key\n")
    report = load(realm, server.url, "--keys", tmp_path / "keys", "--chats", 2, "--turns", 3, code=1)
    assert (report["requests"], report["requests_failed"]) == (2, 2)
    assert [failure["requests"] for failure in report["failures"]] == [2] and report["failures"][0]["what"].startswith("401: ")
    with Scripted(["a", "b"], ending="") as other:
        report = load(realm, other.url, "--chats", 1, code=1)
    assert report["failures"] == [{"what": "the answer ended before its end", "requests": 1}]
    assert load(realm, other.url, "--chats", 1, code=1)["requests_failed"] == 1  # nobody listens there now


def test_what_is_no_load_is_refused(realm):
    for args in (("--streams", 0), ("--prompt-words", "9:3"), ("-n", "0"), ("--prompt-words", "many"), ("--chats", "1000000")):
        assert realm.run("bench", *args).returncode == 2
    assert "JSON object" in realm.refusal("bench", "--fields", "[1]")


def test_a_person_gets_lines(realm, server, keys):
    done = realm.run("bench", "--endpoint", server.url, "--keys", keys, "--chats", 2, "-n", 4)
    text = done.stdout.decode()
    assert done.returncode == 0 and text.startswith("2 requests in ") and "8 output tokens" in text and "to the first token" in text
