"""The chat, driven through a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

TIMEOUT_S = 120


class Terminal:
    def __init__(self, realm, *args):
        self.fd, inside = pty.openpty()
        self.process = subprocess.Popen(
            [realm.binary, "run", *args], stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
            preexec_fn=lambda: os.system("stty -echo 2>/dev/null") and None,
            env={**os.environ, "REALM_MODEL": str(realm.model), "TERM": "dumb"})
        os.close(inside)
        self.seen = ""

    def expect(self, pattern: str) -> re.Match:
        """Reads until the pattern appears in what has not been matched yet."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            if found := re.search(pattern, self.seen):
                self.seen = self.seen[found.end():]
                return found
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                assert data, f"the chat ended; no {pattern!r} in {self.seen!r}"
                self.seen += data.decode(errors="replace")

    def send(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def leave(self) -> int:
        deadline = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    pass
        return self.process.returncode


@pytest.fixture
def terminal(realm):
    opened = []

    def start(*args):
        opened.append(Terminal(realm, *args))
        return opened[-1]

    yield start
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
        os.close(one.fd)


def test_second_turn_does_not_compute_the_first_again(terminal):
    chat = terminal("--temp", "0", "-n", "24")
    chat.expect(">>> ")
    chat.send("My name is Ada and I like lighthouses very much.\n")
    first = chat.expect(r"\[(\d+) tokens.*?(\d+) of (\d+) prompt tokens reused")
    assert int(first[2]) == 0
    chat.expect(">>> ")
    chat.send("What do I like?\n")
    second = chat.expect(r"\[(\d+) tokens.*?(\d+) of (\d+) prompt tokens reused")
    assert int(second[2]) >= int(first[3]) - 1 and int(second[3]) > int(second[2])
    chat.expect(">>> ")
    chat.send("/stats\n")
    chat.expect(r"turns 2, prompt tokens \d+ \([1-9]\d* reused\)")
    chat.expect(">>> ")
    chat.send("/bye\n")
    assert chat.leave() == 0


def stopped_in_an_answer(terminal) -> Terminal:
    """A chat whose answer was interrupted, at its prompt again."""
    chat = terminal("--ignore-eos")
    chat.expect(">>> ")
    chat.send("Tell me a very long story.\n")
    chat.expect(r"\w+ \w+ \w+")
    os.killpg(chat.process.pid, signal.SIGINT)
    chat.expect("stopped")
    chat.expect(">>> ")
    return chat


def test_interrupt_stops_the_answer_and_the_chat_goes_on(terminal):
    chat = stopped_in_an_answer(terminal)
    chat.send("/help\n")
    chat.expect("/clear")
    chat.expect(">>> ")
    chat.send("/bye\n")
    assert chat.leave() == 0


def test_a_second_interrupt_leaves(terminal):
    chat = stopped_in_an_answer(terminal)
    os.killpg(chat.process.pid, signal.SIGINT)
    assert chat.leave() == 130


def test_settings_and_unknown_commands(terminal):
    chat = terminal("-n", "4")
    chat.expect(">>> ")
    for line, answer in [("/set temperature 0\n", "temperature is 0"), ("/set temperature warm\n", "must be a number, 0 to 100"),
                         ("/set top_p nan\n", "must be a number"), ("/set top_k 1e99\n", "must be a whole number"),
                         ("/set colour 1\n", "no setting colour"), ("/nonsense\n", "Unknown command"),
                         ("/clear\n", "forgotten")]:
        chat.send(line)
        chat.expect(answer)
        chat.expect(">>> ")
    chat.send('"""first line\n')
    chat.expect(r"\.\.\. ")
    chat.send('second line"""\n')
    chat.expect(r"\[\d+ tokens")


def test_end_of_input_leaves(terminal):
    chat = terminal()
    chat.expect(">>> ")
    chat.send("\x04")
    assert chat.leave() == 0
