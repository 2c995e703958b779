"""Memory of one 7B-class model that sixteen customers use at once, and of llama-server with the same file.

Usage: bench/density.py; tools/make_large_model.py writes the model. Each answers with 64 tokens of context a stream; the peak is the
kernel's, from the start of the process on. LLAMA_SERVER is llama-server's path. Prints one JSON object.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from peers import LlamaServer, memory_kib
from server_load import Server, at_once, stream

STREAMS = 16
PROMPT = "hello w1 w2"
PROMPT_TOKENS = 20
TOKENS = 64 - PROMPT_TOKENS
THREADS = os.cpu_count()


def peak_gb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9


def answer_all(port, keys):
    began = time.monotonic()
    answers = at_once(len(keys), lambda i: stream(port, keys[i], PROMPT, TOKENS)[1])
    if any(usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0) != PROMPT_TOKENS + TOKENS for usage in answers):
        raise SystemExit(f"an answer has not the length that it should have: {answers}")
    return TOKENS * len(keys) / (time.monotonic() - began)


def measured(server, keys):
    try:
        stream(server.port, keys[0], PROMPT, 1)  # loads the model where that waits for the first request
        rate = answer_all(server.port, keys)
        resident, private = memory_kib(server.process.pid)
        return {"streams": len(keys), "peak_gb": peak_gb(server.process.pid), "resident_gb": resident * 1024 / 1e9,
                "private_gb": private * 1024 / 1e9, "tokens_per_second": rate}
    finally:
        server.stop()


def of_realm(*args):
    server = Server("--ctx", "64", "--threads", str(THREADS), "--max-realms", str(STREAMS), *args)
    return measured(server, [server.key(f"customer-{i}") for i in range(STREAMS)])


def of_peer(slots, *args):
    # A slot's context is a multiple of 256 there.
    return measured(LlamaServer(slots, THREADS, *args), ["none"] * slots)


def main():
    tool = Path(__file__).resolve().parent.parent / "tools" / "make_large_model.py"
    os.environ["REALM_MODEL"] = subprocess.run([sys.executable, tool], check=True, capture_output=True, text=True).stdout.strip()
    rows = [{"of": "realm", **of_realm()}, {"of": "realm, --kv-type q8_0", **of_realm("--kv-type", "q8_0")}]
    for slots in (STREAMS, 1):
        for name, args in (("", ()), (", without mmap", ("--load-mode", "none"))):
            rows.append({"of": f"llama-server, {slots} slots{name}", **of_peer(slots, *args)})
    print(json.dumps({"model": Path(os.environ["REALM_MODEL"]).name, "rows": rows}))


if __name__ == "__main__":
    main()
