#!/usr/bin/env python3
"""Writes a GGUF of Llama-2-7B's shape and quantisation (Q4_0, output in Q6_K) with random weights, and prints its path.

Benchmarks of memory and speed use it: it is as large and as slow as the real model, and what it says means nothing. The file (3.8 GB) is
made once and kept in the cache.
"""

import argparse
import random
import struct
from pathlib import Path

from cache import cache_folder
from make_tiny_model import ALIGNMENT, ARRAY, FLOAT32, STRING, UINT32, padding, string

F32, Q4_0, Q6_K = 0, 2, 14
BLOCK = {Q4_0: (32, 18), Q6_K: (256, 210), F32: (1, 4)}  # values and bytes of a block
LAYERS, WIDTH, HEADS, FEED_FORWARD, VOCABULARY = 32, 4096, 32, 11008, 32_000
INT32 = 5
POOL_BLOCKS = 1 << 16
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"


def pool_of(kind, generator):
    """Random blocks whose values have a standard deviation of about 0.02; tensors are cut from it."""
    _, size = BLOCK[kind]
    if kind == F32:
        return struct.pack("<f", 1.0) * POOL_BLOCKS
    blocks = bytearray(generator.randbytes(size * POOL_BLOCKS))
    scale_at, scale = (0, 0.0043) if kind == Q4_0 else (208, 0.001)
    for i, byte in enumerate(struct.pack("<e", scale)):
        blocks[scale_at + i :: size] = bytes([byte]) * POOL_BLOCKS
    if kind == Q6_K:
        for i in range(192, 208):  # a scale for each 16 values
            blocks[i::size] = b"\1" * POOL_BLOCKS
    return bytes(blocks)


def tensors():
    yield "token_embd.weight", (WIDTH, VOCABULARY), Q4_0
    yield "output_norm.weight", (WIDTH,), F32
    yield "output.weight", (WIDTH, VOCABULARY), Q6_K
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", (WIDTH,), F32
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{block}{name}.weight", (WIDTH, WIDTH), Q4_0
        yield block + "ffn_norm.weight", (WIDTH,), F32
        yield block + "ffn_gate.weight", (WIDTH, FEED_FORWARD), Q4_0
        yield block + "ffn_up.weight", (WIDTH, FEED_FORWARD), Q4_0
        yield block + "ffn_down.weight", (FEED_FORWARD, WIDTH), Q4_0


def array(kind, form, values):
    head = struct.pack("<IQ", kind, len(values))
    return head + (b"".join(map(string, values)) if kind == STRING else struct.pack(f"<{len(values)}{form}", *values))


def vocabulary():
    """A SentencePiece one: the special tokens, the bytes, letters and then words."""
    special = ["<unk>", "<s>", "</s>"]
    pieces = special + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["\u2581", *map(chr, range(33, 127))]
    pieces += [f"\u2581w{number:x}" for number in range(VOCABULARY - len(pieces))]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (VOCABULARY - 259)
    return pieces, [-float(rank) for rank in range(VOCABULARY)], kinds


def metadata():
    pieces, scores, kinds = vocabulary()
    texts = {"general.architecture": "llama", "general.name": "random model of Llama-2-7B's shape", "tokenizer.ggml.model": "llama",
             "tokenizer.chat_template": TEMPLATE}
    numbers = {"llama.block_count": LAYERS, "llama.context_length": 4096, "llama.embedding_length": WIDTH,
               "llama.feed_forward_length": FEED_FORWARD, "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": HEADS,
               "llama.rope.dimension_count": WIDTH // HEADS, "llama.vocab_size": VOCABULARY, "general.file_type": 2,
               "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0}
    yield from ((key, STRING, string(value)) for key, value in texts.items())
    yield from ((key, UINT32, struct.pack("<I", value)) for key, value in numbers.items())
    yield "llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)
    yield "tokenizer.ggml.tokens", ARRAY, array(STRING, "", pieces)
    yield "tokenizer.ggml.scores", ARRAY, array(FLOAT32, "f", scores)
    yield "tokenizer.ggml.token_type", ARRAY, array(INT32, "i", kinds)


def size_of(dimensions, kind):
    values, size = BLOCK[kind]
    count = 1
    for dimension in dimensions:
        count *= dimension
    return count // values * size


def write(file, seed):
    generator = random.Random(seed)
    pools = {kind: pool_of(kind, generator) for kind in BLOCK}
    pairs, listed = list(metadata()), list(tensors())
    table, offset = b"", 0
    for name, dimensions, kind in listed:
        table += string(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        table += struct.pack("<IQ", kind, offset)
        offset += -(-size_of(dimensions, kind) // ALIGNMENT) * ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(pairs))
    head += b"".join(string(key) + struct.pack("<I", kind) + value for key, kind, value in pairs) + table
    file.write(head + padding(len(head)))
    for _, dimensions, kind in listed:
        left = size_of(dimensions, kind)
        file.write(b"".join(pools[kind][: min(left - begin, len(pools[kind]))] for begin in range(0, left, len(pools[kind]))))
        file.write(padding(left))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=cache_folder() / "models" / "random-llama-2-7b-q4_0.gguf")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.out.exists():
        options.out.parent.mkdir(parents=True, exist_ok=True)
        part = options.out.with_suffix(".part")
        with part.open("wb") as file:
            write(file, options.seed)
        part.rename(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
