"""Clients in Node, LangChain and LiteLLM, unchanged."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = "SmolLM2-135M-Instruct.Q4_1"
NODE = Path(__file__).parent / "node"
INSTALL_S = 300


@pytest.fixture(scope="session")
def node_folder():
    """The clients, installed once into the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "realm" / "node"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = (NODE / "package.json").read_text()
    done = cache / "installed.json"
    if not done.exists() or done.read_text() != wanted:
        shutil.copy(NODE / "package.json", cache / "package.json")
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=cache, check=True, timeout=INSTALL_S)
        done.write_text(wanted)
    shutil.copy(NODE / "clients.mjs", cache / "clients.mjs")
    return cache


def test_node_clients(open_server, node_folder):
    done = subprocess.run(["node", "clients.mjs", open_server.url, MODEL], cwd=node_folder, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["openai", "anthropic", "ai-sdk"]


def test_langchain(open_server):
    import langchain_openai as langchain

    chat = langchain.ChatOpenAI(model=MODEL, base_url=open_server.url + "/v1", api_key="none", max_tokens=16, max_retries=0)
    assert chat.invoke("Say hello.").content
    assert "".join(chunk.content for chunk in chat.stream("Say hello."))


def test_litellm(open_server):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no download at import
    import litellm

    options = {"model": "openai/" + MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16,
               "api_base": open_server.url + "/v1", "api_key": "none", "num_retries": 0}
    assert litellm.completion(**options).choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**options, stream=True))
