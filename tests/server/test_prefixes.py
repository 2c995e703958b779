"""Beginnings of prompts that the operator publishes: every realm starts from them, none writes to them."""

import itertools

import pytest

from test_tenants import post

RULES = "These are the rules of the house, and they hold for everybody. " * 20
LENGTH_MIN = 200  # tokens of RULES, at least


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rules.txt"
    path.write_text(RULES)
    return path


def cached(server, key, prompt):
    status, _, body = post(server, key, {"prompt": prompt, "max_tokens": 1}, "/v1/completions")
    assert status == 200, body
    return body["usage"]["prompt_tokens_details"]["cached_tokens"]


class Fresh:
    """Realms that have sent nothing yet: what they find in the cache, others have put there."""

    def __init__(self, server):
        self.server = server
        self.numbers = itertools.count()

    def cached(self, prompt):
        return cached(self.server, self.server.key(f"fresh{next(self.numbers)}"), prompt)


def add(server, name, file, model="tiny"):
    server.cli("prefixes", "add", name, "--model", model, "--file", file)


def test_every_realm_starts_from_a_published_prefix(start_server, file):
    server = start_server("--max-realms", 100)
    fresh = Fresh(server)
    assert fresh.cached(RULES + "One.") == 0
    add(server, "rules", file)
    server.wait_for(lambda: fresh.cached(RULES + "Two.") >= LENGTH_MIN)
    assert server.cli("prefixes", "list", "--model", "tiny")["data"] == [{"name": "rules", "bytes": len(RULES)}]
    assert fresh.cached(RULES[: len(RULES) // 2] + "Three.") >= LENGTH_MIN // 2 - 10
    assert fresh.cached("Other rules. " + RULES) == 0


def test_no_realm_writes_to_it(start_server, file):
    server = start_server("--max-realms", 100)
    fresh = Fresh(server)
    add(server, "rules", file)
    server.wait_for(lambda: fresh.cached(RULES + "x") >= LENGTH_MIN)
    own = RULES + "Here is what only acme says, at some length, so that it would show. " * 10
    acme = server.key("acme")
    published = cached(server, acme, own)
    assert cached(server, acme, own) > published + 100
    assert fresh.cached(own) == published


def test_what_is_published_no_longer_is_not_found(start_server, file):
    server = start_server("--max-realms", 100)
    fresh = Fresh(server)
    add(server, "rules", file)
    server.wait_for(lambda: fresh.cached(RULES + "x") >= LENGTH_MIN)
    server.cli("prefixes", "rm", "rules", "--model", "tiny")
    server.wait_for(lambda: fresh.cached(RULES + "y") == 0)
    assert server.cli("prefixes", "list", "--model", "tiny")["data"] == []


def test_it_is_there_after_a_restart_and_without_a_server(start_server, file):
    server = start_server()
    server.stop()
    add(server, "rules", file)
    again = start_server("--max-realms", 100, data=server.data)
    fresh = Fresh(again)
    again.wait_for(lambda: fresh.cached(RULES + "x") >= LENGTH_MIN)


def test_what_is_published_is_bounded(start_server, file, tmp_path, realm):
    server = start_server()
    for number in range(16):
        add(server, f"p{number}", file)
    add(server, "p3", file)
    large = tmp_path / "large.txt"
    large.write_text("x" * (256 * 1024 + 1))

    def refused(name, path, model="tiny"):
        return realm.refusal("prefixes", "add", name, "--model", model, "--file", path, "--data", server.data)

    assert "at most 16" in refused("one-more", file)
    assert "bytes" in refused("p3", large)
    assert "name" in refused(".hidden", file) and "no such path" in refused("a/b", file)
    assert "no published prefix" in realm.refusal("prefixes", "rm", "none", "--model", "tiny", "--data", server.data)
    assert post(server, body={"prompt": "hi", "max_tokens": 1}, path="/v1/completions")[0] == 200


def test_only_operators_publish(start_server):
    server = start_server()
    key = server.key("acme")
    status, _, body = post(server, key, {"text": RULES}, "/admin/v1/models/tiny/prefixes/rules")
    assert status in (401, 403), body
    assert server.cli("prefixes", "list", "--model", "tiny")["data"] == []
