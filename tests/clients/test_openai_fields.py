"""Fields of OpenAI's API, and of llama-server's and vLLM's, one by one: what is taken, what it does, what is refused."""

import json
import math
import re

import openai
import pydantic
import pytest

MODEL = "SmolLM2-135M-Instruct.Q4_1"
HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def client(open_server):
    return openai.OpenAI(base_url=open_server.url + "/v1", api_key="none", max_retries=0)


def chat(client, messages=HELLO, **fields):
    options = {"max_tokens": 12, "temperature": 0}
    named = ("tools", "tool_choice", "response_format", "max_tokens", "temperature")
    known = {key: fields.pop(key) for key in list(fields) if key in named}
    return client.chat.completions.create(model=MODEL, messages=messages, **{**options, **known}, extra_body=fields)


def tool(name, parameters):
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"], "additionalProperties": False}
TOOLS = [tool("weather", CITY), tool("news", CITY)]


@pytest.mark.parametrize("fields", [
    {"top_p": 0}, {"top_k": -1}, {"seed": -1}, {"user": "me", "metadata": {"a": "b"}, "store": False}, {"stop": []}, {"logit_bias": {}},
    {"service_tier": "auto", "reasoning_effort": "low", "prompt_cache_key": "k"}, {"min_p": 0.1, "repetition_penalty": 1.1},
    {"parallel_tool_calls": True}, {"response_format": {"type": "text"}},
    {"messages": [{"role": "developer", "content": "Be brief."}, *HELLO]}])
def test_fields_that_are_taken(client, fields):
    assert chat(client, **fields).choices[0].message.content


def test_a_top_p_of_0_takes_the_likeliest(client):
    assert chat(client, temperature=1, top_p=0).choices[0].message.content == chat(client).choices[0].message.content


@pytest.mark.parametrize("field, value, param", [
    ("user", 5, "user"), ("metadata", "x", "metadata"), ("parallel_tool_calls", "no", "parallel_tool_calls"), ("top_k", -2, "top_k"),
    ("structured_outputs", [], "structured_outputs"), ("structured_outputs", {"choice": "a"}, "structured_outputs.choice"),
    ("guided_json", "{", "guided_json"), ("guided_choice", [""], "guided_choice"), ("continue_final_message", 1, "continue_final_message"),
    ("messages", [{"role": "user", "content": None}], "messages[0].content"),
    ("messages", [{"role": "nobody", "content": "x"}], "messages[0].role"),
    ("messages", [{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
    ("grammar", "root ::= missing", "grammar"), ("regex", "(", "regex"), ("stream_options", {"include_usage": True}, "stream_options")])
def test_a_wrong_field_is_named(client, field, value, param):
    with pytest.raises(openai.BadRequestError) as raised:
        chat(client, **{field: value})
    assert raised.value.param == param and raised.value.type == "invalid_request_error", raised.value.body


@pytest.mark.parametrize("fields, pattern", [
    ({"structured_outputs": {"choice": ["left \"or\"\nright", "\\"]}}, r'left "or"\nright|\\'),
    ({"guided_choice": ["yes", "no"]}, "yes|no"),
    ({"structured_outputs": {"regex": "[a-c]{3}"}}, "[a-c]{3}"),
    ({"guided_regex": "[0-9]{2}"}, "[0-9]{2}"),
    ({"guided_grammar": 'root ::= "x" [0-9]'}, "x[0-9]"),
    ({"structured_outputs": {"grammar": 'root ::= "yz"'}}, "yz"),
    ({"grammar": 'root ::= ("ab" | "cd"){2}'}, "(ab|cd){2}"),
    ({"guided_json": {"enum": [11, 12]}}, "11|12"),
    ({"structured_outputs": {"json": '{"const": true}'}}, "true"),
    ({"response_format": {"type": "json_object", "schema": {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"],
                                                            "additionalProperties": False}}}, r'\{\s*"n":\s*7\s*\}')])
def test_forms_as_llama_server_and_vllm_name_them(client, fields, pattern):
    answer = chat(client, max_tokens=40, **fields).choices[0]
    assert re.fullmatch(pattern, answer.message.content) and answer.finish_reason == "stop", answer


def test_references_in_a_tools_schema(client):
    """As pydantic writes them for nested models."""
    class Place(pydantic.BaseModel):
        model_config = {"extra": "forbid"}
        zone: int

    class Trip(pydantic.BaseModel):
        model_config = {"extra": "forbid"}
        start: Place
        end: Place

    answer = chat(client, tools=[tool("go", Trip.model_json_schema()), TOOLS[0]], max_tokens=100,
                  tool_choice={"type": "function", "function": {"name": "go"}})
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "go" and Trip.model_validate_json(call.function.arguments)


@pytest.mark.parametrize("mode", ["required", "auto"])
def test_allowed_tools(client, mode):
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [{"type": "function", "function": {"name": "news"}}]}}
    answer = chat(client, [{"role": "user", "content": "Weather in Rome?"}], tools=TOOLS, max_tokens=80, tool_choice=allowed)
    calls = answer.choices[0].message.tool_calls or []
    assert {call.function.name for call in calls} <= {"news"} and (calls or mode == "auto")
    with pytest.raises(openai.BadRequestError) as raised:
        allowed["allowed_tools"]["tools"][0]["function"]["name"] = "nothing"
        chat(client, tools=TOOLS, tool_choice=allowed)
    assert raised.value.param.startswith("tool_choice")


TWO_CALLS = [{"role": "user", "content": "x"}]
# What a model that calls two tools would write, said by a grammar.
TWICE = r'''root ::= "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}</tool_call>"
"<tool_call>{\"name\": \"news\", \"arguments\": {\"city\": \"Oslo\"}}</tool_call>"'''.replace('\n"', ' "')


@pytest.mark.parametrize("streamed", [False, True])
def test_parallel_calls(client, streamed):
    def names(**fields):
        options = {"model": MODEL, "messages": TWO_CALLS, "tools": TOOLS, "max_tokens": 120, "temperature": 0,
                   "extra_body": {"grammar": TWICE}}
        if streamed:
            with client.chat.completions.stream(**options, **fields) as stream:
                answer = stream.until_done().get_final_completion()
        else:
            answer = client.chat.completions.create(**options, **fields)
        assert answer.choices[0].finish_reason == "tool_calls"
        return [call.function.name for call in answer.choices[0].message.tool_calls]

    assert names() == names(parallel_tool_calls=True) == ["weather", "news"]
    assert names(parallel_tool_calls=False) == ["weather"]


def test_tools_beside_a_schema(client):
    """The answer is the one or the other."""
    form = {"type": "json_schema", "json_schema": {"name": "form", "strict": True, "schema": {
        "$defs": {"n": {"type": "integer", "minimum": 1, "maximum": 9}}, "type": "object", "properties": {"n": {"$ref": "#/$defs/n"}},
        "required": ["n"], "additionalProperties": False}}}
    for question in ("Weather in Rome?", "Give me a number."):
        choice = chat(client, [{"role": "user", "content": question}], tools=TOOLS, response_format=form, max_tokens=100).choices[0]
        if choice.message.tool_calls:
            assert set(json.loads(choice.message.tool_calls[0].function.arguments)) == {"city"}
        else:
            assert 1 <= json.loads(choice.message.content)["n"] <= 9


def test_a_begun_answer_goes_on(client):
    begun = [*HELLO, {"role": "assistant", "content": "Hello, my dear"}]
    answer = chat(client, begun, continue_final_message=True)
    turns = chat(client, begun)
    assert answer.usage.prompt_tokens < turns.usage.prompt_tokens
    raw = client.completions.create(model=MODEL, temperature=0, max_tokens=12, prompt=(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\nHello, my dear"))
    assert answer.choices[0].message.content == raw.choices[0].text


def test_log_probabilities_of_a_prompt(client):
    """As evaluation harnesses ask for them: what was generated once has the same ones when it comes as the prompt."""
    options = {"model": MODEL, "temperature": 0, "logprobs": 2, "echo": True}
    first = client.completions.create(prompt="The café by the sea", max_tokens=8, **options).choices[0]
    told = first.logprobs
    assert told.token_logprobs[0] is None and told.top_logprobs[0] is None and all(value <= 0 for value in told.token_logprobs[1:])
    assert first.text.startswith("The café by the sea")
    for token, begin in zip(told.tokens, told.text_offset):
        assert first.text[begin:].startswith(token), (token, begin)
    again = client.completions.create(prompt=first.text, max_tokens=0, **options)
    assert again.choices[0].text == first.text and again.usage.completion_tokens == 0
    assert again.choices[0].logprobs.tokens == told.tokens
    for one, other in zip(told.token_logprobs[1:], again.choices[0].logprobs.token_logprobs[1:]):
        assert math.isclose(one, other, abs_tol=0.05)
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model=MODEL, prompt="word " * 3_000, max_tokens=1, logprobs=0, echo=True)
    assert raised.value.param == "logprobs"


def test_completions_of_token_ids(client, open_server):
    ids = client.post("/../tokenize", body={"content": "Once upon a"}, cast_to=object)["tokens"]
    text = client.completions.create(model=MODEL, prompt="Once upon a", max_tokens=6, temperature=0)
    listed = client.completions.create(model=MODEL, prompt=[ids, ids], max_tokens=6, temperature=0)
    assert {choice.text for choice in listed.choices} == {text.choices[0].text}
    assert [choice.index for choice in listed.choices] == [0, 1]
    for wrong in ({"suffix": "x"}, {"best_of": 3}, {"prompt": [[1, "x"]]}, {"prompt": [10 ** 9]}, {"logprobs": 6}, {"logprobs": True}):
        with pytest.raises(openai.BadRequestError) as raised:
            client.completions.create(**{"model": MODEL, "prompt": "x", **wrong})
        assert raised.value.param == next(iter(wrong))


def test_responses_of_items(client):
    items = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
             {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'},
             {"type": "function_call_output", "call_id": "c1", "output": "sunny"}]
    flat = [{"type": "function", **each["function"]} for each in TOOLS]
    answer = client.responses.create(model=MODEL, input=items, tools=flat, max_output_tokens=16, metadata={"a": "b"}, instructions="Help.",
                                     parallel_tool_calls=False, text={"format": {"type": "text"}})
    assert answer.metadata == {"a": "b"} and answer.parallel_tool_calls is False and answer.text.format.type == "text"
    assert answer.usage.input_tokens > 40 and answer.usage.input_tokens_details.cached_tokens >= 0
    called = client.responses.create(model=MODEL, input="Weather?", tools=flat, max_output_tokens=80, tool_choice="required")
    [call] = [item for item in called.output if item.type == "function_call"]
    assert set(json.loads(call.arguments)) == {"city"}
    for wrong in ({"previous_response_id": "resp_1"}, {"store": True}, {"background": True}, {"input": 5}, {"include": "x"},
                  {"text": {"format": {"type": "xml"}}}, {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}):
        with pytest.raises(openai.BadRequestError) as raised:
            client.responses.create(**{"model": MODEL, "input": "x", **wrong})
        assert raised.value.param and raised.value.param.split("[")[0] in (*wrong, "response_format"), raised.value.body


@pytest.mark.parametrize("streamed", [False, True])
def test_log_probabilities_of_responses(client, streamed):
    options = {"model": MODEL, "input": "Say hello.", "max_output_tokens": 8, "temperature": 0, "top_logprobs": 2,
               "include": ["message.output_text.logprobs"]}
    if streamed:
        events = list(client.responses.create(**options, stream=True))
        answer = events[-1].response
        assert sum(len(event.logprobs) for event in events if event.type == "response.output_text.delta") > 0
    else:
        answer = client.responses.create(**options)
    [part] = answer.output[0].content
    assert "".join(token.token for token in part.logprobs) == part.text and all(len(token.top_logprobs) == 2 for token in part.logprobs)


def test_tokenize_as_vllm_has_it(client):
    answer = client.post("/../tokenize", body={"messages": HELLO, "return_token_strs": True}, cast_to=object)
    assert answer["count"] == chat(client).usage.prompt_tokens == len(answer["tokens"])
    assert "".join(answer["token_strs"]).endswith("<|im_start|>assistant\n")
    pieces = client.post("/../tokenize", body={"content": "a🦋", "with_pieces": True}, cast_to=object)["tokens"]
    whole = b"".join(bytes(each["piece"]) if isinstance(each["piece"], list) else each["piece"].encode() for each in pieces)
    assert whole.decode() == "a🦋"
