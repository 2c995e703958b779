"""`realm pull`: what arrives is whole, is what was promised, and comes from nowhere private."""

import hashlib
import http.server
import json
import os
import signal
import ssl
import subprocess
import threading
import time

import pytest


class Handler(http.server.BaseHTTPRequestHandler):
    """Files by name, with ranges. `files` says what each does besides."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        what = server.files.get(self.path.split("?")[0])
        if what is None:
            return self.send_error(404)
        if "redirect" in what:
            self.send_response(302)
            self.send_header("Location", what["redirect"])
            for name, value in what.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        content, etag = what["content"], what.get("etag", '"one"')
        begin = 0
        if (wanted := self.headers.get("Range")) and self.headers.get("If-Range") == etag:
            begin = int(wanted[len("bytes="):-1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", etag)
        self.end_headers()
        end = len(content)
        if what.get("break_at", 0) > begin:
            end = what["break_at"]
        try:
            for at in range(begin, end, 65_536):
                self.wfile.write(content[at:min(at + 65_536, end)])
                time.sleep(what.get("pause_s", 0))
        except OSError:
            pass
        if end < len(content):
            what["break_at"] = 0
            self.close_connection = True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    return folder


@pytest.fixture
def hub(certificate):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.files, server.requests = {}, []
    server.url = f"https://localhost:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def content(tiny_model):
    return tiny_model.read_bytes()


@pytest.fixture
def pull(realm, certificate, tmp_path):
    """Runs `realm pull`; the answer's JSON, or the one line of an error."""

    def run(*args, env=None):
        done = realm.run("pull", *map(str, args), "--data", tmp_path / "data", "--json",
                         env={"SSL_CERT_FILE": str(certificate / "cert.pem"), **(env or {})})
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.decode()

    run.folder = tmp_path / "data" / "models"
    return run


def test_from_a_file_to_a_running_server(realm, start_server, tiny_model):
    server = start_server()
    done = realm.run("pull", tiny_model, "--name", "mine", "--data", server.data, "--json")
    assert done.returncode == 0, done.stderr
    pulled = json.loads(done.stdout)
    assert pulled["sha256"] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert "mine" in [model["id"] for model in json.loads(server.get("/v1/models"))["data"]]
    from test_tenants import CHAT, post
    assert post(server, body={**CHAT, "model": "mine"})[0] == 200
    assert server.cli("models", "rm", "mine")
    assert post(server, body={**CHAT, "model": "mine"})[0] == 404


def test_over_https(pull, hub, content):
    hub.files["/some/tiny.gguf"] = {"content": content}
    pulled = pull(f"{hub.url}/some/tiny.gguf?download=true", "--allow-private")
    assert pulled["name"] == "tiny" and (pull.folder / "tiny.gguf").read_bytes() == content
    assert [file.name for file in (pull.folder / "incoming").iterdir()] == ["tiny.lock"]


def test_a_broken_connection_is_resumed(pull, hub, content):
    hub.files["/tiny.gguf"] = {"content": content, "break_at": len(content) // 2}
    pulled = pull(f"{hub.url}/tiny.gguf", "--allow-private")
    assert pulled["bytes"] == len(content) and (pull.folder / "tiny.gguf").read_bytes() == content
    ranges = [headers.get("Range") for _, headers in hub.requests]
    assert ranges[0] is None and ranges[1] == f"bytes={len(content) // 2}-"


def test_content_that_changed_meanwhile_starts_anew(pull, hub, content):
    incoming = pull.folder / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "tiny.gguf.part").write_bytes(b"x" * 1_000)
    (incoming / "tiny.gguf.etag").write_text('"another"')
    hub.files["/tiny.gguf"] = {"content": content}
    assert pull(f"{hub.url}/tiny.gguf", "--allow-private")["bytes"] == len(content)
    assert (pull.folder / "tiny.gguf").read_bytes() == content


def test_ctrl_c_keeps_what_arrived(realm, certificate, hub, content, pull, tmp_path):
    hub.files["/tiny.gguf"] = {"content": content, "pause_s": 0.05}
    command = [realm.binary, "pull", f"{hub.url}/tiny.gguf", "--allow-private", "--data", tmp_path / "data"]
    process = subprocess.Popen(command, env={**os.environ, "SSL_CERT_FILE": str(certificate / "cert.pem")}, stderr=subprocess.PIPE)
    part = pull.folder / "incoming" / "tiny.gguf.part"
    while not (part.exists() and part.stat().st_size > 200_000):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stderr.close()
    kept = part.stat().st_size
    hub.files["/tiny.gguf"]["pause_s"] = 0
    assert pull(f"{hub.url}/tiny.gguf", "--allow-private")["bytes"] == len(content)
    assert hub.requests[-1][1]["Range"] == f"bytes={kept}-"


def test_a_wrong_hash_is_not_published(pull, hub, content):
    hub.files["/tiny.gguf"] = {"content": content}
    assert "SHA-256" in pull(f"{hub.url}/tiny.gguf", "--allow-private", "--sha256", "0" * 64)
    assert not (pull.folder / "tiny.gguf").exists()
    right = hashlib.sha256(content).hexdigest().upper()
    assert pull(f"{hub.url}/tiny.gguf", "--allow-private", "--sha256", right)["name"] == "tiny"


def test_a_bad_file_is_not_published(pull, hub):
    hub.files["/bad.gguf"] = {"content": b"GGUF but no more"}
    assert "bad.gguf" in pull(f"{hub.url}/bad.gguf", "--allow-private")
    assert not (pull.folder / "bad.gguf").exists()


def test_from_a_hub(pull, hub, content):
    stated = hashlib.sha256(content).hexdigest()
    hub.files["/store/abc"] = {"content": content}
    hub.files["/own/repo/resolve/v2/dir/tiny.gguf"] = {"redirect": f"https://127.0.0.1:{hub.server_address[1]}/store/abc",
                                                       "headers": {"X-Linked-ETag": f'"{stated}"'}}
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
    assert pull("hf:own/repo@v2/dir/tiny.gguf", "--allow-private", env=settings)["sha256"] == stated
    assert [headers.get("Authorization") for _, headers in hub.requests] == ["Bearer hf_secret", None]
    hub.files["/own/repo/resolve/v2/dir/tiny.gguf"]["headers"]["X-Linked-ETag"] = f'"{"1" * 64}"'
    assert "SHA-256" in pull("hf:own/repo@v2/dir/tiny.gguf", "--allow-private", env=settings)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433"])
def test_private_addresses_are_refused(pull, host):
    assert "--allow-private" in pull(f"https://{host}:9/x.gguf")


def test_only_https(pull, hub):
    assert "https only" in pull("http://example.test/x.gguf")
    hub.files["/x.gguf"] = {"redirect": "http://localhost:9/x.gguf"}
    assert "rotocol" in pull(f"{hub.url}/x.gguf", "--allow-private")
    hub.files["/x.gguf"] = {"redirect": "file:///etc/passwd"}
    assert "rotocol" in pull(f"{hub.url}/x.gguf", "--allow-private")


def test_errors_say_what(pull, hub):
    assert "no such file" in pull(f"{hub.url}/none.gguf", "--allow-private")
    assert "no such file" in pull("/nowhere/x.gguf")
    assert "--name" in pull(f"{hub.url}/model.bin", "--allow-private")
    assert "hf:OWNER/REPO/FILE" in pull("hf:nothing")
    assert "certificate" in pull(f"{hub.url}/x.gguf", "--allow-private", env={"SSL_CERT_FILE": ""}).lower()
