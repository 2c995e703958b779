"""The server's quick start in README.md does what it says, pasted as it stands; only the port is another one."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

SECTION = "## A server for many customers\n"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_the_server_quick_start(realm, tmp_path):
    section = (Path(__file__).resolve().parents[2] / "README.md").read_text().partition(SECTION)[2].partition("\n## ")[0]
    section = section.replace("8080", str(free_port()))
    shell = re.search(r"```sh\n(.*?)```", section, re.S)[1]
    (tmp_path / "chat.py").write_text(re.search(r"```python\n(.*?)```", section, re.S)[1])
    script = f"{shell}\n'{sys.executable}' '{tmp_path}/chat.py'\nrealm usage --json > '{tmp_path}/usage.json'\nkill %1\nwait %1\n"
    environment = {**os.environ, "PATH": f"{realm.binary.parent}:{os.environ['PATH']}", "REALM_DATA": str(tmp_path / "data"),
                   "REALM_MODEL": str(realm.model)}
    done = subprocess.run(["bash", "-emc", script], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode()
    assert '{"status":"ready"}' in said and len(said.split()) > 20, said
    assert '"acme"' in (tmp_path / "usage.json").read_text()
