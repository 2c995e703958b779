"""What one realm has sent does not show in the time that another waits for the same prompt."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "prefix_timing.py"
ROUNDS = 60  # standard deviation of the AUC of equal distributions: 0.053; `make bench` measures it with 300


def test_time_to_first_token_does_not_tell_what_others_have_sent(realm, tiny_model):
    done = subprocess.run([sys.executable, SCRIPT, "--rounds", str(ROUNDS), "--words", "400"], capture_output=True, timeout=300,
                          env={**os.environ, "REALM_BINARY": str(realm.binary), "REALM_MODEL": str(tiny_model)})
    assert done.returncode == 0, done.stderr.decode()
    figures = json.loads(done.stdout)
    assert 0.3 < figures["prompt_of_another_realm"]["auc"] < 0.7, figures
    assert figures["own_prompt"]["auc"] > 0.9, figures
