"""/openapi.json against the server: made requests, valid and not, get what it says."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server_process import Server

CHECKS = [not_a_server_error, content_type_conformance, response_headers_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def described(realm, tiny_model):
    server = Server(realm.binary, tiny_model, "--ctx", 256)
    server.inference_key = server.key("fuzz")
    server.operator_key = server.cli("keys", "create")["key"]
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def api(described):
    return schemathesis.openapi.from_dict(json.loads(described.get("/openapi.json")))


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case, described):
    path = case.operation.path
    admin = path.startswith("/admin/") or path == "/metrics"
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {described.operator_key if admin else described.inference_key}"}
    answer = case.call(base_url=described.url, timeout=60)
    checks = list(CHECKS)
    if admin:
        checks.append(negative_data_rejection)
    case.validate_response(answer, checks=checks)
    assert answer.headers["x-request-id"]
    assert described.process.poll() is None
