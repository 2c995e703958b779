"""A short run of what `make soak` does for an hour."""

import os

from soak import Soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))


def test_memory_and_descriptors_stay_flat_under_mixed_load(realm, tiny_model, tmp_path):
    soak = Soak(realm.binary, tiny_model, tmp_path)
    try:
        soak.run(SECONDS)
        soak.check()
    finally:
        code = soak.server.stop()
    assert code == 0
