"""What a model with random weights answers under a schema is valid: nothing but the form can make it so."""

import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest

from server_process import Server
from test_tenants import post

MADE_SCHEMAS = 200
# Not valid JSON Schema (`prefixItems` is no list), or a pattern that looks ahead.
REFUSED = {"string array", "nullable string array", "array with empty items and prefixItems", "unsupported regexp in a property"}
PATTERNS = ["^[a-z]{2,5}$", "^(yes|no|maybe)-[0-9]+$", "^\\d{3}-\\d{4}$", "^[A-F0-9]{8}$"]
CASE = re.compile(r'test\(\{\s*SUCCESS,\s*"([^"]*)",\s*(?://[^\n]*\s*)*R"""\((.*?)\)"""', re.S)


def published_schemas():
    """llama.cpp's own cases that are valid JSON Schema."""
    folder = os.environ.get("REALM_TEMPLATES")
    if not folder:
        pytest.fail("set REALM_TEMPLATES (`make test` does)")
    for name, text in CASE.findall((Path(folder) / "test-json-schema-to-grammar.cpp").read_text()):
        yield name, json.loads(text)


def made_schema(numbers, depth=0):
    """A schema of any shape that strict mode knows."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "pattern", "format"]
    if depth < 3:
        kinds += ["object", "object", "array", "anyOf", "tuple", "ref"]
    kind = numbers.choice(kinds)
    inner = lambda: made_schema(numbers, depth + 1)  # noqa: E731
    low = numbers.randint(-200, 200)
    if kind == "string":
        return {"type": "string", "maxLength": numbers.randint(0, 12)}
    if kind == "integer":
        return {"type": "integer", "minimum": low, "maximum": low + numbers.randint(0, 5_000)}
    if kind == "number":
        return {"type": "number", "minimum": low, "exclusiveMaximum": low + 10}
    if kind == "enum":
        return {"enum": numbers.sample(["red", "blue", 1, 2.5, None, True, "a \"quoted\" one", "ünï"], 4)}
    if kind == "const":
        return {"const": numbers.choice(["fixed", 7, {"a": [1, 2]}, None])}
    if kind == "pattern":
        return {"type": "string", "pattern": numbers.choice(PATTERNS)}
    if kind == "format":
        return {"type": "string", "format": numbers.choice(["date", "time", "date-time", "uuid"])}
    if kind == "object":
        names = numbers.sample(["name", "age", "tags", "size", "a b", "é", "x\"y"], numbers.randint(0, 4))
        return {"type": "object", "properties": {name: inner() for name in names}, "additionalProperties": False,
                "required": numbers.sample(names, numbers.randint(0, len(names)))}
    if kind == "array":
        least = numbers.randint(0, 2)
        return {"type": "array", "items": inner(), "minItems": least, "maxItems": least + numbers.randint(0, 2)}
    if kind == "tuple":
        return {"type": "array", "prefixItems": [inner(), inner()], "items": False, "minItems": 2}
    if kind == "anyOf":
        return {"anyOf": [inner(), inner()]}
    if kind == "ref":
        part = {"$ref": "#/$defs/part"}
        return {"$defs": {"part": inner()}, "type": "object", "properties": {"one": part, "two": part}, "required": ["one"],
                "additionalProperties": False}
    return {"type": kind}


def with_root_references(schema):
    """The definitions of nested schemas are referred to from the root."""
    text = json.dumps(schema)
    if '"$defs"' not in text:
        return schema
    found = {}

    def lift(part):
        if isinstance(part, list):
            return [lift(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$defs" in part and "properties" in part:
            name = f"part{len(found)}"
            found[name] = None
            found[name] = lift(part["$defs"]["part"])
            rest = {key: value for key, value in part.items() if key != "$defs"}
            rest["properties"] = {key: {"$ref": f"#/$defs/{name}"} for key in rest["properties"]}
            return rest
        return {key: lift(value) for key, value in part.items()}

    return {**lift(schema), "$defs": found}


def schemas():
    yield from published_schemas()
    for seed in range(MADE_SCHEMAS):
        yield f"made {seed}", with_root_references(made_schema(random.Random(seed)))


def fault(schema, text):
    """What is wrong with an answer; older schemas have tuples in `items`."""
    newest = jsonschema.Draft202012Validator
    try:
        newest.check_schema(schema)
    except jsonschema.SchemaError:
        newest = jsonschema.Draft7Validator
    try:
        return next((error.message for error in newest(schema).iter_errors(json.loads(text))), None)
    except ValueError as error:
        return str(error)


@pytest.fixture(scope="module")
def server(realm, tiny_model):
    server = Server(realm.binary, tiny_model)
    yield server
    assert server.stop() == 0


def ending_tokens(server):
    """Tokens that end strings, numbers and lists: pushed a little, so that random weights come to an end."""
    ids = {}
    for text in ('"', "}", "]", ",", '",'):
        status, _, body = post(server, body={"content": text}, path="/tokenize")
        assert status == 200
        if len(body["tokens"]) == 1:
            ids[str(body["tokens"][0])] = 6
    return ids


def test_random_weights_under_schemas(server):
    bias = ending_tokens(server)
    assert bias

    def answer(case):
        name, schema = case
        body = {"messages": [{"role": "user", "content": name}], "max_tokens": 600, "temperature": 1, "seed": 1, "logit_bias": bias,
                "response_format": {"type": "json_schema", "json_schema": {"name": "form", "schema": schema, "strict": True}}}
        return name, schema, *post(server, body=body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, schemas()))
    whole = 0
    wrong = []
    for name, schema, status, _, body in answers:
        if status == 400 and name in REFUSED and body["error"]["param"] == "response_format.json_schema.schema":
            continue
        if status != 200:
            wrong.append((name, body))
            continue
        choice = body["choices"][0]
        if choice["finish_reason"] != "stop":
            continue
        whole += 1
        if bad := fault(schema, choice["message"]["content"]):
            wrong.append((name, schema, choice["message"]["content"], bad[:200]))
    assert not wrong, "\n".join(map(str, wrong[:20]))
    assert whole > 200, f"only {whole} of {len(answers)} answers came to an end"
