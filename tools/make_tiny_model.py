#!/usr/bin/env python3
"""Writes a tiny Llama-architecture GGUF with random weights and the vocabulary of a real model.

Tests use it where the text does not matter: it has everything that a real model has (two layers, grouped heads, an output of
its own, tokenizer and chat template) and computes some fifteen times faster. The same seed gives the same file.
With --says it answers with one text whatever comes before.
"""

import argparse
import os
import random
import statistics
import struct
import sys

ALIGNMENT = 32
F32, F16 = 0, 1
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

POOLING_RANK = 4  # llama.cpp's LLAMA_POOLING_TYPE_RANK
RANK_LABELS = ["yes", "no"]
RERANK_TEMPLATE = "<|im_start|>user\nQuery: {query}\nDocument: {document}<|im_end|>\n<|im_start|>assistant\n"

LAYERS, WIDTH, HEADS, KV_HEADS, FEED_FORWARD = 2, 64, 4, 2, 128
KV_WIDTH = WIDTH // HEADS * KV_HEADS


class Reader:
    """Walks over the metadata of a GGUF file."""

    def __init__(self, file):
        self.file = file

    def number(self, form):
        return struct.unpack("<" + form, self.file.read(struct.calcsize("<" + form)))[0]

    def string(self):
        return self.file.read(self.number("Q"))

    def skip_value(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            element, count = self.number("I"), self.number("Q")
            if element in SCALAR_BYTES:
                self.file.seek(SCALAR_BYTES[element] * count, os.SEEK_CUR)
            else:
                for _ in range(count):
                    self.skip_value(element)
        else:
            self.file.seek(SCALAR_BYTES[kind], os.SEEK_CUR)


def read_tokenizer(path):
    """The tokenizer's key-value pairs as (key, kind, raw value), and the size of its vocabulary."""
    pairs, tokens = [], 0
    with open(path, "rb") as file:
        reader = Reader(file)
        if file.read(4) != b"GGUF":
            sys.exit(f"make_tiny_model: {path} is not a GGUF file")
        reader.number("I")  # version
        reader.number("Q")  # tensors
        for _ in range(reader.number("Q")):
            key, kind = reader.string().decode(), reader.number("I")
            begin = file.tell()
            reader.skip_value(kind)
            end = file.tell()
            if not key.startswith("tokenizer."):
                continue
            file.seek(begin)
            value = file.read(end - begin)
            pairs.append((key, kind, value))
            if key == "tokenizer.ggml.tokens":
                tokens = struct.unpack_from("<Q", value, 4)[0]
    return pairs, tokens


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def architecture_pairs(context, tokens, ranks):
    name = "qwen3" if ranks else "llama"
    numbers = {
        f"{name}.block_count": LAYERS,
        f"{name}.context_length": context,
        f"{name}.embedding_length": WIDTH,
        f"{name}.feed_forward_length": FEED_FORWARD,
        f"{name}.attention.head_count": HEADS,
        f"{name}.attention.head_count_kv": KV_HEADS,
        f"{name}.rope.dimension_count": WIDTH // HEADS,
        f"{name}.vocab_size": tokens,
        "general.file_type": 1,
    }
    texts = {"general.architecture": name, "general.name": "tiny random model"}
    floats = {f"{name}.attention.layer_norm_rms_epsilon": 1e-5, f"{name}.rope.freq_base": 10000.0}
    labels = []
    if ranks:
        numbers[f"{name}.pooling_type"] = POOLING_RANK
        texts["tokenizer.chat_template.rerank"] = RERANK_TEMPLATE
        value = struct.pack("<IQ", STRING, len(RANK_LABELS)) + b"".join(string(label) for label in RANK_LABELS)
        labels = [(f"{name}.classifier.output_labels", ARRAY, value)]
    return labels + (
        [(key, STRING, string(value)) for key, value in texts.items()]
        + [(key, UINT32, struct.pack("<I", value)) for key, value in numbers.items()]
        + [(key, FLOAT32, struct.pack("<f", value)) for key, value in floats.items()]
    )


def tensors(tokens, ranks):
    """(name, dimensions, standard deviation); 0: a norm, all ones. The sizes make an answer depend on all of its history."""
    yield "token_embd.weight", (WIDTH, tokens), 1.0
    yield "output_norm.weight", (WIDTH,), 0
    yield "output.weight", (WIDTH, tokens), 0.4
    if ranks:
        yield "cls.output.weight", (WIDTH, len(RANK_LABELS)), 0.3
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        if ranks:
            yield block + "attn_q_norm.weight", (WIDTH // HEADS,), 0
            yield block + "attn_k_norm.weight", (WIDTH // HEADS,), 0
        yield block + "attn_norm.weight", (WIDTH,), 0
        yield block + "attn_q.weight", (WIDTH, WIDTH), 0.15
        yield block + "attn_k.weight", (WIDTH, KV_WIDTH), 0.15
        yield block + "attn_v.weight", (WIDTH, KV_WIDTH), 0.2
        yield block + "attn_output.weight", (WIDTH, WIDTH), 0.2
        yield block + "ffn_norm.weight", (WIDTH,), 0
        yield block + "ffn_gate.weight", (WIDTH, FEED_FORWARD), 0.15
        yield block + "ffn_up.weight", (WIDTH, FEED_FORWARD), 0.15
        yield block + "ffn_down.weight", (FEED_FORWARD, WIDTH), 0.15


def tensor_data(dimensions, deviation, generator):
    count = 1
    for dimension in dimensions:
        count *= dimension
    if deviation == 0:
        return struct.pack("<f", 1.0) * count
    # One of 256 values of a normal distribution for each random byte.
    normal = statistics.NormalDist(0, deviation)
    values = [struct.pack("<e", normal.inv_cdf((i + 0.5) / 256)) for i in range(256)]
    return b"".join(values[byte] for byte in generator.randbytes(count))


def silence(name):
    """Whether a block's output is nothing in a model that only knows what follows on a token."""
    return name.endswith(("attn_output.weight", "ffn_down.weight"))


def chained(output, embedding, chain):
    """Rows of the output that are like the token before them: after each token of the chain the next is the likeliest."""
    row = WIDTH * struct.calcsize("<e")
    output = bytearray(output)
    for before, after in zip(chain, chain[1:]):
        output[after * row : (after + 1) * row] = embedding[before * row : (before + 1) * row]
    return bytes(output)


def padding(size):
    return b"\0" * (-size % ALIGNMENT)


def write_model(file, pairs, tokens, seed, ranks, chain):
    generator = random.Random(seed)
    table, blobs, offset = b"", [], 0
    for name, dimensions, deviation in tensors(tokens, ranks):
        data = tensor_data(dimensions, deviation, generator)
        if chain and silence(name):
            data = bytes(len(data))
        if chain and name == "output.weight":
            data = chained(data, blobs[0], chain)
        blobs.append(data + padding(len(data)))
        table += string(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        table += struct.pack("<IQ", F16 if deviation else F32, offset)
        offset += len(blobs[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(blobs), len(pairs))
    head += b"".join(string(key) + struct.pack("<I", kind) + value for key, kind, value in pairs) + table
    file.write(head + padding(len(head)))
    for blob in blobs:
        file.write(blob)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    real_model = os.environ.get("REALM_MODEL")
    parser.add_argument("--from", dest="source", default=real_model, help="GGUF whose tokenizer is copied; default: REALM_MODEL")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--context", type=int, default=2048, help="context length that the file states")
    parser.add_argument("--pre", help="another tokenizer.ggml.pre, such as tekken")
    parser.add_argument("--rank", action="store_true", help="a model with a rank head (Qwen3's architecture), for reranking")
    parser.add_argument("--template", help="another chat template")
    parser.add_argument("--says", help="ids of the tokens of an answer: the last of the prompt, the answer's, an end token; no token twice")
    options = parser.parse_args()
    chain = [int(token) for token in options.says.split(",")] if options.says else []
    if len(set(chain[:-1])) != len(chain[:-1]):
        parser.error("--says: a token comes twice, so what follows it is not certain")
    if not options.source:
        parser.error("name a model by --from or REALM_MODEL")

    pairs, tokens = read_tokenizer(options.source)
    if options.pre:
        pairs = [pair for pair in pairs if pair[0] != "tokenizer.ggml.pre"]
        pairs.append(("tokenizer.ggml.pre", STRING, string(options.pre)))
    if options.template:
        pairs = [pair for pair in pairs if pair[0] != "tokenizer.chat_template"]
        pairs.append(("tokenizer.chat_template", STRING, string(options.template)))
    partial = options.out + ".partial"
    with open(partial, "wb") as file:
        pairs = architecture_pairs(options.context, tokens, options.rank) + pairs
        write_model(file, pairs, tokens, options.seed, options.rank, chain)
    os.replace(partial, options.out)


if __name__ == "__main__":
    main()
