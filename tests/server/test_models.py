"""The model store, as operators and customers see it."""

import json
import shutil
import threading
import urllib.error

import pytest

from test_tenants import CHAT, post


@pytest.fixture
def models(tiny_model, tmp_path):
    """A folder with the tiny model under two names."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("one", "two"):
        shutil.copy(tiny_model, folder / f"{name}.gguf")
    return folder


def states(server):
    return {model["name"]: model["state"] for model in server.cli("models", "list")["data"]}


def test_a_model_is_loaded_when_it_is_first_used(realm, models, start_server):
    server = start_server("--models", models, model=models / "one.gguf")
    assert states(server) == {"one": "absent", "two": "absent"}
    assert post(server, body={**CHAT, "model": "two"})[0] == 200
    assert states(server) == {"one": "absent", "two": "ready"}
    status, _, body = post(server, body={**CHAT, "model": "three"})
    assert status == 404 and body["error"]["code"] == "model_not_found"


def test_first_requests_at_once_load_it_once(models, start_server):
    server = start_server("--models", models, model=models / "one.gguf")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(server, body={**CHAT, "model": "one"})[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20
    assert server.metric("realm_model_loads_total") == 1


def test_a_model_larger_than_the_budget_says_so(models, start_server):
    server = start_server("--models", models, "--memory-budget", "100", "--kv-mib", "32", model=models / "one.gguf")
    status, _, body = post(server, body={**CHAT, "model": "one"})
    assert status == 507 and "100 MiB" in body["error"]["message"]


# Every route that names a model.
ROUTES = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "hi", "max_tokens": 1},
    "/v1/responses": {"input": "hi", "max_output_tokens": 1},
    "/v1/embeddings": {"input": "hi"},
    "/v1/messages": CHAT,
    "/v1/messages/count_tokens": CHAT,
    "/tokenize": {"content": "hi"},
    "/detokenize": {"tokens": [1]},
}


def refusals(server, key, model):
    """What each route says about a model, without what belongs to the one request."""
    for path, body in ROUTES.items():
        status, headers, answer = post(server, key, {**body, "model": model}, path)
        answer.pop("request_id", None)
        yield path, status, sorted(name.lower() for name in headers), json.dumps(answer).replace(model, "MODEL")
    try:
        server.get(f"/v1/models/{model}", key)
    except urllib.error.HTTPError as error:
        answer = json.loads(error.read())
        answer["error"].pop("request_id", None)
        yield "/v1/models", error.code, sorted(name.lower() for name in error.headers), json.dumps(answer).replace(model, "MODEL")


def test_a_missing_model_is_refused_in_the_words_of_the_protocol(models, start_server):
    server = start_server("--models", models, model=models / "one.gguf")
    for path, status, _, said in refusals(server, None, "six"):
        error = json.loads(said)["error"]
        assert status == 404 and "MODEL" in error["message"], path
        if path.startswith("/v1/messages"):
            assert json.loads(said)["type"] == "error" and error["type"] == "not_found_error", path
        else:
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "model_not_found", "model"), path
    with pytest.raises(urllib.error.HTTPError) as raised:
        server.get("/v1/nothing")
    assert json.loads(raised.value.read())["error"]["type"] == "invalid_request_error"


def test_a_private_model_looks_like_none(models, start_server):
    server = start_server("--models", models, model=models / "one.gguf")
    friend, stranger = server.key("friend"), server.key("stranger")
    server.cli("models", "allow", "two", "friend")
    for path, body in ROUTES.items():
        assert post(server, friend, {**body, "model": "two"}, path)[0] == 200, path
    private = list(refusals(server, stranger, "two"))
    assert private == list(refusals(server, stranger, "six"))
    assert [status for _, status, _, _ in private] == [404] * (len(ROUTES) + 1)
    listed = json.loads(server.get("/v1/models", stranger))
    assert [model["id"] for model in listed["data"]] == ["one"]


def test_a_realm_with_models_of_its_own(models, start_server):
    server = start_server("--models", models, model=models / "one.gguf")
    key = server.key("acme", "--models", "two")
    assert post(server, key, CHAT)[2]["model"] == "two"
    assert post(server, key, {**CHAT, "model": "one"})[0] == 404


def test_bad_files_are_never_served(models, start_server):
    whole = (models / "one.gguf").read_bytes()
    (models / "torn.gguf").write_bytes(whole[: len(whole) // 2])
    (models / "junk.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 64)
    server = start_server("--models", models, model=models / "one.gguf")
    listed = {model["name"]: model for model in server.cli("models", "list")["data"]}
    assert listed["torn"]["state"] == "failed" and "beyond the file" in listed["torn"]["fault"]
    assert listed["junk"]["state"] == "failed"
    assert post(server, body={**CHAT, "model": "torn"})[0] == 404
    assert post(server, body={**CHAT, "model": "one"})[0] == 200


def test_a_replaced_file_changes_nothing_for_who_uses_it(models, start_server):
    server = start_server("--models", models, model=models / "one.gguf")
    assert post(server, body={**CHAT, "model": "one"})[0] == 200
    (models / "one.gguf").unlink()
    (models / "one.gguf").write_bytes(b"not a model")
    assert post(server, body={**CHAT, "model": "one"})[0] == 200


def test_two_models_take_turns_for_long(models, start_server):
    """Two models that do not fit together, asked in turns by two realms: each turn evicts, and nothing grows."""
    server = start_server("--models", models, "--memory-budget", 260, "--kv-mib", 32, model=models / "one.gguf")
    keys = [server.key("acme"), server.key("other")]

    def rounds(count):
        for number in range(count):
            for key, model in zip(keys, ("one", "two")):
                status, _, body = post(server, key, {**CHAT, "model": model, "max_tokens": 1})
                assert status == 200, (number, body)

    rounds(20)
    resident, evicted = server.metric("realm_process_resident_bytes"), server.metric("realm_model_evictions_total")
    rounds(200)
    assert server.metric("realm_model_evictions_total") - evicted >= 2 * 200 - 2
    assert server.metric("realm_process_resident_bytes") < resident * 1.2 + (16 << 20)
    assert server.metric("realm_model_load_failures_total") == 0
    assert server.metric("realm_models_loaded") == 1
