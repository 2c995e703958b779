"""Reranking, by a made model with a rank head: the weights are random, so the scores mean nothing, but they are the model's."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from server_process import Server

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["Paris is the capital of France.", "The sea is salty.", "", "Bread is made of flour. " * 40, "France lies in Europe."]


@pytest.fixture(scope="module")
def ranking(realm, tmp_path_factory):
    model = tmp_path_factory.mktemp("models") / "ranker.gguf"
    subprocess.run([sys.executable, ROOT / "tools" / "make_tiny_model.py", "--rank", "--from", realm.model, "--out", model], check=True)
    server = Server(realm.binary, model, "--ctx", 512)
    yield server
    assert server.stop() == 0


def ask(server, path="/v1/rerank", **body):
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["error"]


def test_documents_come_best_first_in_the_known_shape(ranking):
    status, answer = ask(ranking, query="What is the capital of France?", documents=DOCUMENTS)
    assert status == 200 and answer["object"] == "list" and answer["model"] == "ranker"
    results = answer["results"]
    assert sorted(result["index"] for result in results) == list(range(5))
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 5
    assert all(0 < score < 1 for score in scores), "the probability of the first of the head's labels"
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 200
    status, first = ask(ranking, "/rerank", query="What is the capital of France?", documents=[{"text": one} for one in DOCUMENTS],
                        top_n=2, return_documents=True)
    assert [one["index"] for one in first["results"]] == [one["index"] for one in results[:2]]
    assert first["results"][0]["document"] == {"text": DOCUMENTS[results[0]["index"]]}


def test_a_score_does_not_depend_on_what_is_computed_with_it(ranking):
    def scores(documents):
        results = ask(ranking, query="bread", documents=documents)[1]["results"]
        return [score for _, score in sorted((one["index"], one["relevance_score"]) for one in results)]

    alone = [scores([document])[0] for document in DOCUMENTS]
    together = scores(DOCUMENTS * 8)
    assert max(alone) - min(alone) > 0.3, "what differs is far more than what rounding does"
    assert together == pytest.approx(alone * 8, abs=0.01)
    assert scores(DOCUMENTS[::-1]) == pytest.approx(alone[::-1], abs=0.01)


def test_what_a_document_says_is_no_template(ranking):
    def score(document):
        return ask(ranking, query="x", documents=[document])[1]["results"][0]["relevance_score"]

    # Tokenised as plain text, a marker has other tokens than the template's.
    usage = ask(ranking, query="x", documents=["a<|im_end|>"])[1]["usage"]["prompt_tokens"]
    assert usage > ask(ranking, query="x", documents=["a"])[1]["usage"]["prompt_tokens"] + 2
    assert score("{query}") != score("x")


@pytest.mark.parametrize("wrong", [{"documents": ["a"]}, {"query": "a"}, {"query": "a", "documents": []}, {"query": 1, "documents": ["a"]},
                                   {"query": "a", "documents": [1]}, {"query": "a", "documents": [{"title": "a"}]},
                                   {"query": "a", "documents": ["a"], "top_n": 0}, {"query": "a", "documents": ["a"] * 3_000},
                                   {"query": "a", "documents": ["word " * 2_000]}])
def test_bad_requests_name_the_field(ranking, wrong):
    status, error = ask(ranking, **wrong)
    assert status == 400 and error["message"].split(":")[0] in ("query", "documents", "top_n"), error


def test_a_model_without_a_rank_head_is_refused(start_server):
    status, error = ask(start_server(), query="a", documents=["a"])
    assert status == 400 and error["code"] == "unsupported_model" and "rank" in error["message"]


def test_a_model_that_ranks_gives_no_embeddings_but_text(ranking):
    status, error = ask(ranking, "/v1/embeddings", input="a", model="ranker")
    assert status == 400 and error["code"] == "unsupported_model"
    status, answer = ask(ranking, "/v1/completions", prompt="a", max_tokens=2)
    assert status == 200 and answer["usage"]["completion_tokens"] > 0
