"""The load generator of others, guidellm, on Realm and on llama-server in turns: what it says of both, beside what `realm bench` says.

Usage: bench/outside_witness.py [--rounds N] [--seconds S]; LLAMA_SERVER is llama-server's path. Synthetic prompts of 54 tokens, 64 new
tokens, 16 streams. guidellm wants the model's tokenizer as Hugging Face has it; it is made from the GGUF file. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from peers import LlamaServer
from server_load import Server

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
from cache import cache_folder, made_once  # noqa: E402

PACKAGES = ("guidellm==0.3.1", "gguf==0.17.1")
STREAMS = 16
CONTEXT = 512
DATA = {"prompt_tokens": 54, "output_tokens": 64}
THREADS = os.cpu_count()
MAKE_TOKENIZER = """
import sys
from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

fields = GGUFReader(sys.argv[1]).fields
tokens = fields["tokenizer.ggml.tokens"].contents()
merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"].contents()]
tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
end = tokens[fields["tokenizer.ggml.eos_token_id"].contents()]
PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=end).save_pretrained(sys.argv[2])
"""


def install(work):
    venv.create(work / "venv", with_pip=True)
    subprocess.run([work / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check",
                    *PACKAGES], check=True, stdout=sys.stderr)
    return work / "venv"


def witness(python, port, key, tokenizer, seconds, seed):
    """What guidellm says of a server: medians and percentiles over the requests that ended within the time."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [python, "-m", "guidellm", "benchmark", "run", "--target", f"http://127.0.0.1:{port}", "--rate-type", "concurrent",
                   "--rate", STREAMS, "--max-seconds", seconds, "--processor", tokenizer, "--data", json.dumps(DATA), "--random-seed", seed,
                   "--disable-progress", "--disable-console-outputs", "--output-path", output,
                   "--backend-args", json.dumps({"headers": {"Authorization": f"Bearer {key}"}})]
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, "HF_HUB_OFFLINE": "1", "GUIDELLM__MAX_WORKER_PROCESSES": "1",
                                   "GUIDELLM__PREFERRED_ROUTE": "chat_completions"})
        if done.returncode != 0 or not output.exists():
            raise SystemExit(f"guidellm ended with {done.returncode}: {done.stdout[-2000:]}")
        report = json.loads(output.read_text())["benchmarks"][0]
    metrics = report["metrics"]
    if report["request_totals"]["errored"]:
        raise SystemExit(f"guidellm saw requests fail: {report['request_totals']}")
    lengths = metrics["output_token_count"]["successful"]
    if not lengths["min"] == lengths["max"] == DATA["output_tokens"]:
        raise SystemExit(f"answers have {lengths['min']} to {lengths['max']} tokens")
    first, between = metrics["time_to_first_token_ms"]["successful"], metrics["inter_token_latency_ms"]["successful"]
    return {"tokens_per_second": metrics["output_tokens_per_second"]["successful"]["mean"], "ttft_ms_p50": first["median"],
            "ttft_ms_p99": first["percentiles"]["p99"], "itl_ms_p50": between["median"], "itl_ms_p99": between["percentiles"]["p99"],
            "requests": report["request_totals"]["successful"]}


def own_load(port, key, seconds, rate):
    """`realm bench` for about as long: tokens/s."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(key)
        file.flush()
        chats = max(STREAMS, round(rate * seconds / DATA["output_tokens"]))
        command = [os.environ["REALM_BINARY"], "bench", "--endpoint", f"http://127.0.0.1:{port}", "--keys", file.name, "--json",
                   "--streams", STREAMS, "--chats", chats, "--prompt-words", 30, "-n", DATA["output_tokens"]]
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["output_tokens_per_second"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=40)
    options = parser.parse_args()
    python = made_once(cache_folder() / PACKAGES[0].replace("==", "-"), "installing guidellm (once)", install) / "bin" / "python"
    servers, rows = {}, []
    with tempfile.TemporaryDirectory() as tokenizer:
        subprocess.run([python, "-c", MAKE_TOKENIZER, os.environ["REALM_MODEL"], tokenizer], check=True, stdout=sys.stderr)
        try:
            servers["realm"] = Server("--threads", str(THREADS), "--ctx", str(CONTEXT))
            servers["llama-server"] = LlamaServer(STREAMS, THREADS, "--no-kv-unified", context=CONTEXT)
            keys = {"realm": servers["realm"].key("customer", "--concurrent-requests-max", str(2 * STREAMS)), "llama-server": "none"}
            found = {name: [] for name in servers}
            for number in range(options.rounds):
                for name, server in servers.items():
                    found[name].append(witness(python, server.port, keys[name], tokenizer, options.seconds, number + 1))
                    rate = found[name][-1]["tokens_per_second"]
                    found[name][-1]["realm_bench_tokens_per_second"] = own_load(server.port, keys[name], options.seconds / 2, rate)
                    print(f"bench: {name}: {rate:.0f} tokens/s", file=sys.stderr)
        finally:
            for server in servers.values():
                server.stop()
    for name, each in found.items():
        rows.append({"server": name, **{key: statistics.median(one[key] for one in each) for key in each[0]}})
    print(json.dumps({"streams": STREAMS, "threads": THREADS, **DATA, "seconds": options.seconds, "rounds": options.rounds,
                      "times_llama_server": rows[0]["tokens_per_second"] / rows[1]["tokens_per_second"], "rows": rows}))


if __name__ == "__main__":
    main()
