"""A model that reasons, asked by the official clients: its reasoning comes apart from its answer, streamed or not."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import anthropic
import openai
import pytest

from server_process import Server

TOOLS = Path(__file__).resolve().parents[2] / "tools"
TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}" \
           "{% if enable_thinking %}<think>{% else %}</think>{% endif %}{{ '\\n' }}"
REASONING, ANSWER = "because it follows", "Hello there"
HI = [{"role": "user", "content": "Hi"}]


def made(folder, name, model, *arguments):
    path = folder / f"{name}.gguf"
    subprocess.run([sys.executable, TOOLS / "make_tiny_model.py", "--from", model, "--out", path, *arguments], check=True, timeout=120)
    return path


def tokens(server, **body):
    request = urllib.request.Request(server.url + "/tokenize", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["tokens"]


@pytest.fixture(scope="module")
def server(realm, tmp_path_factory):
    """Serves a model whose prompts end in an open <think>, and which reasons and then answers."""
    folder = tmp_path_factory.mktemp("models")
    asked = Server(realm.binary, made(folder, "asked", realm.model, "--template", TEMPLATE))
    try:
        last = tokens(asked, messages=HI)[-1]
        said = tokens(asked, content=f" {REASONING}</think> {ANSWER}")
        end = tokens(asked, content="<|im_end|>", parse_special=True)[-1]
    finally:
        asked.stop()
    says = ",".join(str(token) for token in [last, *said, end])
    server = Server(realm.binary, made(folder, "thinker", realm.model, "--template", TEMPLATE, "--says", says))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def chat(client, **fields):
    return client.chat.completions.create(model="thinker", messages=HI, temperature=0, max_tokens=40, extra_body=fields)


def test_a_chat_has_its_reasoning_apart(client):
    answer = chat(client)
    message = answer.choices[0].message
    assert (message.reasoning_content, message.content, answer.choices[0].finish_reason) == (REASONING, ANSWER, "stop")
    assert 0 < answer.usage.completion_tokens_details.reasoning_tokens < answer.usage.completion_tokens


def test_a_streamed_chat_has_its_reasoning_first(client):
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(
        model="thinker", messages=HI, temperature=0, max_tokens=40, stream=True)]
    told = [("reasoning", text) if (text := getattr(delta, "reasoning_content", None)) else ("answer", delta.content or "")
            for delta in deltas]
    assert "".join(text for kind, text in told if kind == "reasoning") == REASONING
    assert "".join(text for kind, text in told if kind == "answer") == ANSWER
    kinds = [kind for kind, text in told if text]
    assert len(kinds) > 3 and kinds == sorted(kinds, reverse=True)


def test_reasoning_can_stay_in_the_text(client):
    message = chat(client, reasoning_format="none").choices[0].message
    assert message.content.strip() == f"{REASONING}</think> {ANSWER}" and getattr(message, "reasoning_content", None) is None
    with pytest.raises(openai.BadRequestError) as raised:
        chat(client, reasoning_format="loud")
    assert raised.value.param == "reasoning_format"


def test_an_answer_that_is_cut_while_it_reasons_is_all_reasoning(client):
    answer = client.chat.completions.create(model="thinker", messages=HI, temperature=0, max_tokens=2)
    assert REASONING.startswith(answer.choices[0].message.reasoning_content) and answer.choices[0].message.content == ""
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens_details.reasoning_tokens == 2


def test_an_effort_of_none_reaches_the_template(client):
    for fields in ({"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}):
        message = chat(client, **fields).choices[0].message
        assert getattr(message, "reasoning_content", None) is None and message.content.strip() == f"{REASONING}</think> {ANSWER}"


def test_a_schema_is_kept_by_an_answer_without_reasoning(client):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    message = chat(client, response_format={"type": "json_schema", "json_schema": {"name": "ok", "schema": schema}}).choices[0].message
    assert isinstance(json.loads(message.content)["ok"], bool) and getattr(message, "reasoning_content", None) is None


def test_a_response_has_reasoning_items(client):
    answer = client.responses.create(model="thinker", input="Hi", temperature=0, max_output_tokens=40)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == REASONING and answer.output_text == ANSWER
    assert answer.usage.output_tokens_details.reasoning_tokens > 0


def test_a_streamed_response_has_reasoning_events(client):
    events = list(client.responses.create(model="thinker", input="Hi", temperature=0, max_output_tokens=40, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.reasoning_text.delta") == REASONING
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    done = [event.item.type for event in events if event.type == "response.output_item.done"]
    assert done == ["reasoning", "message"] == [item.type for item in events[-1].response.output]


def test_a_message_has_thinking_blocks(server):
    client = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
    fields = {"model": "thinker", "messages": HI, "max_tokens": 40, "extra_body": {"temperature": 0}}
    message = client.messages.create(**fields)
    assert [(block.type, getattr(block, block.type)) for block in message.content] == [("thinking", REASONING), ("text", ANSWER)]
    with client.messages.stream(**fields) as stream:
        kinds = [event.delta.type for event in stream if event.type == "content_block_delta"]
    assert set(kinds) == {"thinking_delta", "text_delta"} and kinds == sorted(kinds, reverse=True)
    assert [block.type for block in stream.get_final_message().content] == ["thinking", "text"]
