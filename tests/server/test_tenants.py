"""Realms, keys and limits, through the running server and beside it."""

import json
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def post(server, key=None, body=CHAT, path="/v1/chat/completions", headers=None):
    """Status, headers, parsed body."""
    all_headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), all_headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def test_without_realms_a_local_server_needs_no_key(start_server):
    server = start_server()
    assert post(server)[0] == 200
    assert post(server, "any-key-will-do")[0] == 200


def test_with_realms_a_key_is_needed(start_server):
    server = start_server()
    key = server.key("acme")
    status, headers, body = post(server)
    assert status == 401 and headers["WWW-Authenticate"] == "Bearer" and body["error"]["code"] == "invalid_api_key"
    assert post(server, key[:-1] + ("y" if key[-1] == "x" else "x"))[0] == 401
    assert post(server, key)[0] == 200
    assert post(server, headers={"x-api-key": key})[0] == 200


def test_elsewhere_it_needs_keys_or_anonymous(realm, tiny_model, start_server):
    refused = realm.refusal("server", "--host", "0.0.0.0", "--port", "0", "--model", tiny_model, "--data", start_server().data / "other")
    assert "--anonymous" in refused
    server = start_server("--host", "0.0.0.0", "--anonymous")
    server.url = f"http://127.0.0.1:{server.port}"
    assert post(server)[0] == 200


def test_a_revoked_key_is_refused_at_once(start_server):
    server = start_server()
    server.cli("realms", "create", "acme")
    made = server.cli("keys", "create", "acme", "--label", "ci")
    assert post(server, made["key"])[0] == 200
    server.cli("keys", "revoke", made["id"])
    assert post(server, made["key"])[0] == 401
    listed = server.cli("keys", "list", "acme")["data"]
    assert [key["label"] for key in listed] == ["ci"] and listed[0]["revoked"] and "key" not in listed[0]


def test_identity_is_the_keys_alone(start_server):
    server = start_server()
    key = server.key("acme")
    server.key("other")
    body = {**CHAT, "user": "other", "realm": "other", "metadata": {"realm": "other"}}
    assert post(server, key, body, headers={"X-Realm": "other", "OpenAI-Organization": "other", "Host": "other"})[0] == 200
    usage = {}
    server.wait_for(lambda: usage.update({row["realm"]: row for row in server.cli("usage")["data"]}) or usage)
    assert list(usage) == ["acme"]


def test_commands_work_without_a_server(realm, tmp_path):
    def cli(*args):
        done = realm.run(*args, "--data", tmp_path, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    cli("realms", "create", "acme", "--weight", "3", "--requests-per-minute", "10", "--models", "a,b")
    shown = cli("realms", "show", "acme")
    assert shown["weight"] == 3 and shown["limits"]["requests_per_minute"] == 10 and shown["models"] == ["a", "b"]
    cli("realms", "set", "acme", "--weight", "1", "--name", "apex")
    assert [one["name"] for one in cli("realms", "list")["data"]] == ["apex"]
    key = cli("keys", "create", "apex")
    assert key["key"].startswith("rk_" + key["id"] + "_")
    cli("realms", "delete", "apex")
    assert cli("realms", "list")["data"] == []
    assert "does not exist" in realm.refusal("realms", "show", "apex", "--data", tmp_path)


def test_a_database_change_beside_a_running_server_is_seen(realm, start_server):
    """The socket is hidden, so that the command uses the database itself."""
    server = start_server()
    key = server.key("acme")
    (server.data / "realm.sock").rename(server.data / "hidden.sock")
    server.cli("keys", "revoke", key)
    server.wait_for(lambda: post(server, key)[0] == 401, 3)


def test_requests_a_minute(start_server):
    server = start_server()
    key = server.key("acme", "--requests-per-minute", "2")
    assert [post(server, key)[0] for _ in range(2)] == [200, 200]
    status, headers, body = post(server, key)
    assert status == 429 and body["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(headers["Retry-After"]) <= 30
    assert headers["x-ratelimit-limit-requests"] == "2" and headers["x-ratelimit-remaining-requests"] == "0"
    assert post(server, server.key("other"))[0] == 200


def test_tokens_a_minute_are_settled_with_what_was_counted(start_server):
    server = start_server()
    key = server.key("acme", "--tokens-per-minute", "40")
    status, headers, body = post(server, key, {**CHAT, "max_tokens": 30, "ignore_eos": True})
    assert status == 200 and body["usage"]["total_tokens"] > 40
    status, headers, _ = post(server, key)
    assert status == 429 and headers["x-ratelimit-remaining-tokens"] == "0"


def test_a_token_budget_outlives_the_process(start_server):
    server = start_server()
    key = server.key("acme", "--tokens-per-day", "20")
    assert post(server, key, {**CHAT, "max_tokens": 20, "ignore_eos": True})[0] == 200
    assert post(server, key)[0] == 429
    assert server.stop() == 0
    again = start_server(data=server.data)
    assert post(again, key)[0] == 429


def test_usage_adds_up(start_server):
    server = start_server()
    key = server.key("acme")
    answers = [post(server, key)[2]["usage"] for _ in range(3)]
    post(server, key, {"messages": "x"})
    rows = []
    server.wait_for(lambda: rows.clear() or rows.extend(server.cli("usage", "acme")["data"]) or sum(r["requests"] for r in rows) == 4)
    assert sum(row["prompt_tokens"] for row in rows) == sum(usage["prompt_tokens"] for usage in answers)
    assert sum(row["completion_tokens"] for row in rows) == sum(usage["completion_tokens"] for usage in answers)
    assert server.metric("realm_generation_tokens_total", realm="acme") == sum(usage["completion_tokens"] for usage in answers)
    assert all(key not in line for line in server.lines)


def test_more_realms_than_may_be_resident(start_server):
    server = start_server("--max-realms", "2")
    keys = [server.key(f"r{i}") for i in range(4)]
    for _ in range(2):
        assert [post(server, key)[0] for key in keys] == [200] * 4
    assert server.metric("realm_resident_evictions_total") >= 6
    assert server.metric("realm_resident_realms") == 2


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(start_server, how):
    server = start_server()
    assert server.stop(how) == 0
    assert not (server.data / "realm.sock").exists()


def test_admin_over_tcp_needs_its_scope_and_host(start_server):
    server = start_server()
    inference = server.key("acme")
    admin = server.cli("keys", "create")["key"]

    def status(key, **headers):
        request = urllib.request.Request(server.url + "/admin/v1/realms", headers={"Authorization": f"Bearer {key}", **headers})
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code

    assert status(admin) == 200
    assert status(inference) == 403
    assert status("rk_nothing") == 401
    assert status(admin, Host="attacker.example") == 403
    assert status(admin, Origin="https://attacker.example") == 403
    assert post(server, admin)[0] == 403


def test_top_shows_who_does_what(realm, start_server):
    server = start_server("--ctx", 2_048)
    keys = {name: server.key(name) for name in ("acme", "other")}
    body = {**CHAT, "max_tokens": 1_900, "ignore_eos": True}
    threads = [threading.Thread(target=post, args=(server, keys["acme"], body)) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.wait_for(lambda: server.metric("realm_num_sequences_running") == 3)

    def acme():
        status = json.loads(realm.run("top", "--json", "--data", server.data).stdout)
        return next(row for row in status["realms"] if row["name"] == "acme")

    server.wait_for(lambda: acme()["sequences_active"] == 3, 5)
    assert acme()["requests_running"] == 3 and acme()["kv_tokens_reserved"] > 3 * 1_900
    picture = realm.run("top", "--interval-s", 0.3, "--data", server.data)
    assert picture.returncode == 0, picture.stderr
    row = next(line.split() for line in picture.stdout.decode().splitlines() if line.startswith("acme "))
    assert float(row[4]) > 10
    for thread in threads:
        thread.join(60)
    assert "no server runs" in realm.refusal("top", "--data", "/nowhere")


def test_a_deleted_realms_requests_end(start_server):
    server = start_server()
    key = server.key("acme")
    body = {**CHAT, "max_tokens": 100_000, "ignore_eos": True, "stream": True}
    request = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(body).encode(), {"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.readline().startswith(b"data:")
        server.cli("realms", "delete", "acme")
        began = time.monotonic()
        rest = answer.read()
        assert time.monotonic() - began < 5
    assert b'"error"' in rest or rest.count(b"data:") < 5_000
    assert post(server, key)[0] == 401
