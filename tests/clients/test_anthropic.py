"""The official anthropic client, unchanged."""

import json

import anthropic
import pytest

MODEL = "SmolLM2-135M-Instruct.Q4_1"
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


@pytest.fixture(scope="module")
def client(open_server):
    return anthropic.Anthropic(base_url=open_server.url, api_key="none", max_retries=0)


def test_message(client):
    message = client.messages.create(model=MODEL, max_tokens=8, messages=HELLO, system="Be brief.", extra_body={"temperature": 0})
    assert message.type == "message" and message.content[0].text
    assert message.stop_reason in ("end_turn", "max_tokens") and message.usage.output_tokens <= 8


def test_a_stream_says_the_same(client):
    options = {"model": MODEL, "max_tokens": 24, "messages": HELLO, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**options)
    with client.messages.stream(**options) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        final = stream.get_final_message()
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens


def test_stop_sequences(client):
    message = client.messages.create(model=MODEL, max_tokens=60, messages=HELLO, stop_sequences=["e"], extra_body={"temperature": 0})
    assert message.stop_reason == "stop_sequence" and message.stop_sequence == "e"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called(client, streamed):
    options = {"model": MODEL, "max_tokens": 80, "messages": [{"role": "user", "content": "Weather in Paris?"}], "tools": [WEATHER],
               "tool_choice": {"type": "tool", "name": "get_weather"}, "extra_body": {"temperature": 0}}
    if streamed:
        with client.messages.stream(**options) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**options)
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert call.name == "get_weather" and isinstance(call.input["city"], str) and message.stop_reason == "tool_use"


def test_tool_results_and_blocks(client):
    messages = [{"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]}]
    assert client.messages.create(model=MODEL, max_tokens=4, messages=messages, tools=[WEATHER]).usage.output_tokens > 0
    assert client.messages.count_tokens(model=MODEL, messages=messages).input_tokens > 20


def test_errors(client):
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(model=MODEL, max_tokens=4, messages=HELLO, extra_body={"temperature": "hot"})
    assert raised.value.body["error"]["type"] == "invalid_request_error" and "temperature" in raised.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nothing", max_tokens=4, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=MODEL, max_tokens=4, messages=[{"role": "nobody", "content": "x"}])


def test_a_begun_answer_goes_on(client):
    """The last turn may be the assistant's; and turns of one role after each other are one."""
    options = {"model": MODEL, "max_tokens": 12, "extra_body": {"temperature": 0}}
    begun = client.messages.create(messages=[*HELLO, {"role": "assistant", "content": "Hello, my dear"}], **options)
    plain = client.messages.create(messages=HELLO, **options)
    counted = client.messages.count_tokens(model=MODEL, messages=[*HELLO, {"role": "assistant", "content": "Hello, my dear"}]).input_tokens
    assert begun.content[0].text != plain.content[0].text
    assert 2 <= counted - client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens <= 6
    twice = [{"role": "user", "content": "Say"}, {"role": "user", "content": [{"type": "text", "text": "hello."}]}]
    once = [{"role": "user", "content": "Say\nhello."}]
    one, other = (client.messages.create(messages=turns, **options).content[0].text for turns in (twice, once))
    assert one == other


def test_structured_output(client):
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"n": {"enum": [3, 4]}}, "required": ["n"],
                                              "additionalProperties": False}}
    for body in ({"output_config": {"format": form}}, {"output_format": form}):
        message = client.messages.create(model=MODEL, max_tokens=40, messages=HELLO, extra_body={"temperature": 0, **body})
        assert json.loads(message.content[0].text)["n"] in (3, 4)
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(model=MODEL, max_tokens=4, messages=HELLO, extra_body={"output_config": {"format": {"type": "xml"}}})
    assert "output_config.format" in raised.value.body["error"]["message"]
