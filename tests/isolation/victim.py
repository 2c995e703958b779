"""A customer who streams all the time, as a process of its own. Prints the time of each event, nanoseconds of the system's monotonic
clock, 0 where an answer ends, and -1 for an answer that was not complete."""

import http.client
import json
import os
import sys
import time


def main():
    port, key, model, tokens = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    body = json.dumps({"model": model, "prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": True, "stream": True})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    parent = os.getppid()
    while os.getppid() == parent:
        connection.request("POST", "/v1/completions", body, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(f"victim: {answer.status} {answer.read().decode()}")
        lines, ended = [], False
        while line := answer.readline():
            if line.startswith(b"data: [DONE]"):
                ended = True
            elif line.startswith(b"data: "):
                lines.append(f"{time.monotonic_ns()}\n")
            if len(lines) > 15:
                os.write(1, "".join(lines).encode())
                lines = []
        os.write(1, ("".join(lines) + ("0\n" if ended else "-1\n")).encode())


main()
