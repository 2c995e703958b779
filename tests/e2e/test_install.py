"""What `cmake --install` puts into place runs from there, wherever the tree is moved to."""

import os
import subprocess

import pytest

from conftest import Realm


@pytest.fixture
def installed(realm, tmp_path):
    folder = tmp_path / "first"
    subprocess.run(["cmake", "--install", realm.binary.parent, "--prefix", folder], check=True, capture_output=True)
    return folder.rename(tmp_path / "moved")


def test_installed_tree_is_complete(realm, installed, monkeypatch):
    monkeypatch.delenv("REALM_PROGRAM", raising=False)
    files = {str(path.relative_to(installed)) for path in installed.rglob("*") if not path.is_dir()}
    assert files == {"bin/realm", "bin/realm-runtime", "share/realm/realm.wasm"}
    assert os.readlink(installed / "bin/realm") == "realm-runtime"
    answer = Realm(installed / "bin/realm", realm.model).answer("-n", "4", "--temp", "0", "Hello")
    assert answer["completion_tokens"] == 4


def test_without_the_program_both_places_are_named(realm, installed, monkeypatch):
    monkeypatch.delenv("REALM_PROGRAM", raising=False)
    (installed / "share/realm/realm.wasm").unlink()
    message = Realm(installed / "bin/realm", realm.model).refusal("run", "Hello")
    assert "realm.wasm" in message and f"{installed}/bin" in message and f"{installed}/share/realm" in message
