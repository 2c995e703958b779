"""Each test here is a case of the table in docs/threat_model.md: `test_07_...` is case 7, 0 is none. It gets a realm of its own on
the server that a victim streams from, and whatever it does, at its end the server lives, the victim streams and nothing is left over."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "server"))
import wasm_modules
from world import Case, World


@pytest.fixture(scope="module")  # not longer: the victim takes a core
def world(realm, tiny_model, tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    assert realm.run("pull", tiny_model, "--name", "private", "--data", data).returncode == 0
    measured = os.environ.get("REALM_ISOLATION_RESULTS")
    world = World(realm.binary, realm.model if measured else tiny_model, data, bool(measured))
    yield world
    assert world.stop() == 0


@pytest.fixture
def case(world, request):
    number = int(request.node.name.split("_")[1])
    key = world.server.key(f"case-{number}")
    case = Case(world, number, key, world.resident_bytes())
    failed = request.session.testsfailed
    yield case
    if request.session.testsfailed == failed:
        case.check_restored()
        case.check_neighbours()
        case.record(request.node.originalname)


@pytest.fixture
def text(tmp_path):
    return lambda source: wasm_modules.from_text(source, tmp_path)
