"""The official openai client, unchanged."""

import openai
import pydantic
import pytest

MODEL = "SmolLM2-135M-Instruct.Q4_1"
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    },
}


@pytest.fixture(scope="module")
def client(open_server):
    return openai.OpenAI(base_url=open_server.url + "/v1", api_key="none", max_retries=0)


def test_chat(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=8, temperature=0)
    assert answer.object == "chat.completion" and answer.model == MODEL
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens <= 8


def test_a_stream_says_the_same(client):
    options = {"model": MODEL, "messages": HELLO, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**options)
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason


def test_a_second_turn_reuses_the_first(client):
    first = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16)
    history = [*HELLO, {"role": "assistant", "content": first.choices[0].message.content}, {"role": "user", "content": "And again."}]
    second = client.chat.completions.create(model=MODEL, messages=history, max_tokens=4)
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 1


def test_several_choices(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, n=3, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    again = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, n=3, seed=1)
    assert len(again.choices) == 3


def test_stop(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Count: 1, 2, 3"}], max_tokens=60, stop=["e", ","], temperature=0)
    assert not {"e", ","} & set(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"


def test_logprobs(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=6, temperature=0, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for token in content:
        assert len(token.top_logprobs) == 3 and token.logprob == token.top_logprobs[0].logprob <= 0
    assert b"".join(bytes(token.bytes) for token in content).decode() == answer.choices[0].message.content


def test_completions_with_echo(client):
    answer = client.completions.create(model=MODEL, prompt=["Once upon a", "The sea"], max_tokens=4, echo=True)
    assert [choice.text[:7] for choice in answer.choices] == ["Once up", "The sea"]
    streamed = client.completions.create(model=MODEL, prompt="Once", max_tokens=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed)


def test_responses(client):
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16)
    assert answer.output_text and answer.usage.output_tokens <= 16
    events = list(client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert "".join(deltas) == events[-1].response.output[0].content[0].text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_required_tool_is_called(client):
    options = {"model": MODEL, "messages": [{"role": "user", "content": "Weather in Paris?"}], "tools": [WEATHER],
               "tool_choice": "required", "max_tokens": 80, "temperature": 0}
    answer = client.chat.completions.create(**options)
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert pydantic.TypeAdapter(dict[str, str]).validate_json(call.function.arguments).keys() == {"city"}
    assert answer.choices[0].finish_reason == "tool_calls"
    with client.chat.completions.stream(**options) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.tool_calls[0].function.name == "get_weather"


def test_a_tools_result_is_told(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    messages = [{"role": "user", "content": "Weather in Paris?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    assert client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER], max_tokens=8).usage.prompt_tokens > 30


def test_structured_output_by_parse(client):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    answer = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Invent a person."}], response_format=Person, max_tokens=200, temperature=0)
    assert isinstance(answer.choices[0].message.parsed, Person)


@pytest.mark.parametrize("field, value", [
    ("temperature", "hot"), ("n", 0), ("stop", 5), ("max_tokens", -1), ("tools", "x"), ("logit_bias", 3), ("store", True),
    ("top_logprobs", 3), ("response_format", {"type": "xml"}), ("tool_choice", "maybe")])
def test_a_wrong_field_is_named(client, field, value):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO, extra_body={field: value})
    assert raised.value.body["type"] == "invalid_request_error" and raised.value.body["param"].startswith(field), raised.value.body


def test_errors_have_their_classes(client, open_server):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nothing", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 20_000}])
    assert raised.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError):
        picture = {"type": "image_url", "image_url": {"url": "x"}}
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [picture]}])
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=2_000, extra_body={"ignore_eos": True})
    open_server.wait_for(lambda: open_server.metric("realm_num_requests_running") == 0)


def test_an_aborted_stream_ends_its_sequence(client, open_server):
    stream = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=4_000, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    open_server.wait_for(lambda: open_server.metric("realm_num_sequences_running") == 0, 5)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b))


def test_embeddings(client):
    texts = ["The cat sat on the mat.", "A kitten is sitting on a rug.", "Stock markets fell sharply today."]
    answer = client.embeddings.create(model=MODEL, input=texts)
    cat, kitten, stocks = (each.embedding for each in answer.data)
    assert len(cat) == 576 and abs(cosine(cat, cat) - 1) < 1e-5
    assert cosine(cat, kitten) > cosine(cat, stocks) + 0.05
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 15
    as_numbers = client.embeddings.create(model=MODEL, input=texts[0], encoding_format="float").data[0].embedding
    assert cosine(as_numbers, cat) > 0.9999
    short = client.embeddings.create(model=MODEL, input=texts[0], dimensions=64).data[0].embedding
    assert len(short) == 64 and abs(cosine(short, short) - 1) < 1e-5
    for wrong in ({"input": ""}, {"input": []}, {"input": "word " * 9_000}, {"input": "x", "dimensions": 577}, {"input": {"a": 1}}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model=MODEL, **wrong)
        assert refused.value.param == next(reversed(wrong))


def test_embeddings_beside_a_stream(client, open_server):
    """Long texts are computed in slices between the steps of others."""
    text = "A long text about the sea and the wind. " * 60
    alone = client.embeddings.create(model=MODEL, input=text).data[0].embedding
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=300, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    beside = client.embeddings.create(model=MODEL, input=[text, *("short text" for _ in range(40))]).data
    assert cosine(alone, beside[0].embedding) > 0.999 and len(beside) == 41
    assert sum(1 for _ in stream) > 200
    open_server.wait_for(lambda: open_server.metric("realm_num_sequences_running") == 0)


def test_models(client):
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).owned_by == "realm"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
