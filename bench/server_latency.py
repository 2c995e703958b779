"""What `realm server` adds to a short request over its time in the runtime: the client's time less the one in the server's log.

Usage: bench/server_latency.py [--requests N]. Prints one JSON object.
"""

import argparse
import http.client
import json
import statistics
import time

from server_load import Server, percentile

BODY = json.dumps({"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 1})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300)
    requests = parser.parse_args().requests
    server = Server(log="info")
    seen = {}
    try:
        key = server.key("customer")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for number in range(requests):
            began = time.monotonic()
            headers = {"Authorization": f"Bearer {key}", "x-request-id": f"r{number}"}
            connection.request("POST", "/v1/chat/completions", BODY, headers)
            connection.getresponse().read()
            seen[f"r{number}"] = 1e3 * (time.monotonic() - began)
    finally:
        server.stop()
    inside = {line["request_id"]: float(line["wall_ms"]) for line in server.logged("request")}
    added = [seen[name] - inside[name] for name in seen if name in inside][10:]
    print(json.dumps({"requests": len(added), "client_ms_p50": statistics.median(seen.values()),
                      "runtime_ms_p50": statistics.median(inside.values()), "added_ms_p50": statistics.median(added),
                      "added_ms_p99": percentile(added, 0.99)}))


if __name__ == "__main__":
    main()
