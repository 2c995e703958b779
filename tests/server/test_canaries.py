"""No realm ever sees another's text: each has a secret word, and whoever meets a foreign one has found a leak."""

import http.client
import json
import os
import random
import threading
import urllib.request
from pathlib import Path

import wasm_modules
from server_process import Server

PROGRAM = Path(__file__).with_name("canary_program.cpp")
REALMS = 32
OWN_PROGRAMS = 16  # of these realms
THREADS = 8
REQUESTS = int(os.environ.get("REALM_CANARY_REQUESTS", "400"))


class Watch:
    """Looks for words where they do not belong."""

    def __init__(self, words):
        self.words = words  # realm to word
        self.found = []
        self.own = 0
        self.lock = threading.Lock()

    def look(self, owner, text: str):
        foreign = [realm for realm, word in self.words.items() if realm != owner and word in text]
        with self.lock:
            self.own += owner is not None and self.words[owner] in text
            self.found += [(owner, realm, text[:200]) for realm in foreign]


def made_request(random, word):
    """Path and body of a request that mentions the word: answered in full, echoed, streamed, wrong or left early."""
    messages = [{"role": "system", "content": f"The word is {word}. " * random.randint(1, 20)}, {"role": "user", "content": "Which word?"}]
    tokens = random.randint(1, 24)
    return random.choice([
        ("/v1/chat/completions", {"messages": messages, "max_tokens": tokens, "temperature": 0}),
        ("/v1/chat/completions", {"messages": messages, "max_tokens": tokens, "stream": True, "ignore_eos": True}),
        ("/v1/completions", {"prompt": f"{word} {word}", "echo": True, "max_tokens": tokens}),
        ("/v1/completions", {"prompt": word * 400, "max_tokens": tokens}),
        ("/v1/embeddings", {"input": [word, "other"], "encoding_format": "float", "dimensions": 8}),
        ("/v1/messages", {"messages": messages[1:], "system": word, "max_tokens": tokens}),
        ("/v1/chat/completions", {"messages": messages, "temperature": word}),
        ("/v1/chat/completions", {"messages": [{"role": word, "content": "x"}]}),
        ("/v1/chat/completions", {"messages": messages, "model": word}),
        ("/tokenize", {"content": word, "with_pieces": True}),
    ])


def own_request(random, realm, word):
    """To the realm's own program: prompts of each realm have a length of their own."""
    what = random.choice(["fork", "save", "load", "store", "memory", "trap"])
    return "/v1/programs/own/run", {"do": what, "word": word, "times": 1 + int(realm.partition("-")[2])}


def upload(server, key, module):
    request = urllib.request.Request(server.url + "/v1/programs/own", module, {"Authorization": f"Bearer {key}"}, method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201


def send(server, key, path, body, leave_early: bool) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        try:
            text = answer.read(64 if leave_early else None)
        except http.client.IncompleteRead as cut:  # its program trapped
            text = cut.partial
        return str(answer.headers) + text.decode(errors="replace")
    finally:
        connection.close()


def run(server, keys, own, watch, requests):
    left = iter(range(requests))
    lock = threading.Lock()
    statuses = []

    def work(seed):
        numbers = random.Random(seed)
        while True:
            with lock:
                if next(left, None) is None:
                    return
            realm = numbers.choice(list(keys))
            path, body = made_request(numbers, watch.words[realm])
            if realm in own and numbers.random() < 0.6:
                path, body = own_request(numbers, realm, watch.words[realm])
            text = send(server, keys[realm], path, body, numbers.random() < 0.15)
            watch.look(realm, text)
            statuses.append(text)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def check_own_programs(answers):
    """They found nothing foreign either, and did what they are for."""
    assert not [text for text in answers if "FOREIGN" in text]
    for done in ("zero", "saved canary", "loaded canary", "kept canary"):
        assert any(done in text for text in answers), done


def test_no_foreign_canary(realm, tiny_model, tmp_path):
    module = wasm_modules.from_cpp(PROGRAM.read_text(), tmp_path)
    # Fewer places than realms: prefixes are evicted and realms closed all the time.
    server = Server(realm.binary, tiny_model, "--max-realms", 12, "--saved-kv-mib", 8, "--parallel", 6)
    try:
        watch = Watch({f"realm-{i}": f"canary{random.Random(i).getrandbits(60):015x}" for i in range(REALMS)})
        keys = {name: server.key(name) for name in watch.words}
        own = list(keys)[:OWN_PROGRAMS]
        for name in own:
            upload(server, keys[name], module)
        answers = run(server, keys, own, watch, REQUESTS)
        assert len(answers) == REQUESTS
        # Among so few requests by chance, what was saved may be gone each time when it is asked for; with nobody else about it is there.
        for what in ("save", "load"):
            body = {"do": what, "word": watch.words[own[0]], "times": 1}
            answers.append(send(server, keys[own[0]], "/v1/programs/own/run", body, False))
            watch.look(own[0], answers[-1])
        check_own_programs(answers)
        metrics = server.get("/metrics").decode()
        # A request that brings another's word along, as a leak would, is noticed by the same look.
        assert not watch.found, watch.found[:3]
        assert watch.own > REQUESTS / 10, "the words must show up where they belong, or nothing was looked at"
        watch.look("realm-0", send(server, keys["realm-0"], "/v1/completions",
                                   {"prompt": watch.words["realm-1"], "echo": True, "max_tokens": 1}, False))
        assert [(owner, foreign) for owner, foreign, _ in watch.found] == [("realm-0", "realm-1")]
        evicted = server.metric("realm_resident_evictions_total")
        gone = server.metric("realm_clients_gone_total")
        forked = server.metric("realm_forked_tokens_total")
    finally:
        assert server.stop() == 0
    planted = len(watch.found)
    watch.look(None, metrics)
    watch.look(None, "\n".join(server.lines))
    assert len(watch.found) == planted, watch.found[planted:][:3]
    assert evicted > 10 and gone >= 0 and forked > 0
