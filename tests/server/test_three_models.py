"""Three models of different kinds and sizes, served by one process: at once, and in turns when they do not fit together."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from test_tenants import CHAT, post

FETCH = Path(__file__).resolve().parents[2] / "tools" / "fetch_model.py"
FETCH_S_MAX = 1_000
SMALL, GEMMA, TINY = "SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-q4_k_m", "tiny"
KV_MIB = 32
BUDGET_MIB = 1_000  # Gemma takes some 850 with its buffers for a vocabulary of 262,144, SmolLM2 some 290


@pytest.fixture(scope="module")
def gemma():
    """Gemma 3 270M, from the cache or fetched once."""
    done = subprocess.run([sys.executable, FETCH, "gemma3"], capture_output=True, timeout=FETCH_S_MAX, text=True)
    if done.returncode != 0:
        pytest.fail(f"these tests need Gemma 3 270M: {done.stderr}")
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def three(realm, tiny_model, gemma, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    for name, file in ((SMALL, realm.model), (GEMMA, gemma), (TINY, tiny_model)):
        try:
            os.link(file, folder / f"{name}.gguf")
        except OSError:
            shutil.copy(file, folder / f"{name}.gguf")
    return folder


def serve(three, start_server, *args):
    return start_server("--models", three, "--kv-mib", KV_MIB, *args, model=three / f"{TINY}.gguf")


def ask(server, key, model, **fields):
    body = {"prompt": "1, 2, 3, 4, 5, 6,", "max_tokens": 8, "temperature": 0, "model": model, **fields}
    status, _, answer = post(server, key, body, "/v1/completions")
    assert status == 200, (model, answer)
    assert answer["model"] == model and answer["usage"]["completion_tokens"] > 0
    return answer["choices"][0]["text"]


def threads_of(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


def test_three_models_are_served_at_once_from_one_pool(three, start_server):
    server = serve(three, start_server)
    keys = {model: server.key(f"realm{number}") for number, model in enumerate((SMALL, GEMMA, TINY))}
    alone = {TINY: ask(server, keys[TINY], TINY)}
    threads = threads_of(server)
    alone.update({model: ask(server, keys[model], model) for model in (SMALL, GEMMA)})
    assert threads_of(server) - threads == 2, "each further model has one scheduler thread and computes on the same pool"
    assert "7" in alone[SMALL] and "7" in alone[GEMMA], alone
    answers = {model: [] for model in keys}

    def stream(model):
        for _ in range(4):
            answers[model].append(ask(server, keys[model], model))

    running = [threading.Thread(target=stream, args=(model,)) for model in keys]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for model, texts in answers.items():
        assert len(texts) == 4, model
        if model != TINY:
            assert all("7" in text for text in texts), (model, texts)
    assert server.metric("realm_models_loaded") == 3 and server.metric("realm_model_evictions_total") == 0
    assert threads_of(server) - threads == 2


def test_models_that_do_not_fit_together_take_turns_by_bytes(three, start_server):
    """The two large ones do not fit together; the tiny one fits beside the smaller one, and goes only when the larger one comes."""
    server = serve(three, start_server, "--memory-budget", BUDGET_MIB)
    keys = [server.key("acme"), server.key("other")]
    for _ in range(2):
        for key, model in zip(keys, (SMALL, GEMMA)):
            ask(server, key, model, max_tokens=1)
    resident = server.metric("realm_process_resident_bytes")
    evicted, loads = server.metric("realm_model_evictions_total"), server.metric("realm_model_loads_total")
    for _ in range(10):
        for key, model in zip(keys, (SMALL, GEMMA)):
            ask(server, key, model, max_tokens=1)
            assert server.metric("realm_model_memory_used_bytes") <= BUDGET_MIB << 20
    assert server.metric("realm_model_loads_total") - loads == 20 == server.metric("realm_model_evictions_total") - evicted
    assert server.metric("realm_model_load_failures_total") == 0
    assert server.metric("realm_process_resident_bytes") < resident * 1.2 + (16 << 20)
