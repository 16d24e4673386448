"""A link that is a process: its streams, what it said last, and its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from compressbuild.api import Link, ProcessLink, UserError

Make = Callable[..., ProcessLink]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a link to a Python program."""
    made: list[ProcessLink] = []

    def one(program: str, **options: object) -> ProcessLink:
        made.append(ProcessLink([sys.executable, "-c", program], **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for link in made:
        link.process.kill()
        link.process.wait()


def test_its_streams(make: Make) -> None:
    link: Link = make("import os\nwhile data := os.read(0, 9):\n    os.write(1, data)")
    for sent in (b"\0\r\n\xff", b"more"):
        link.stdin.write(sent)
        assert link.stdout.read(9) == sent
    link.close()
    assert link.stdout.read(1) == b""
    link.close()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import sys; print('x' * 200_000, file=sys.stderr); sys.exit('last words')", "last words"),
        ("import os; os.write(2, b'\\xff no text')", "\ufffd no text"),
        ("import sys; sys.exit(3)", "the connection ended (exit status 3)"),
        ("", "the connection ended"),
    ],
)
def test_what_ended_it(make: Make, program: str, says: str) -> None:
    link = make(program)
    assert link.stdout.read(1) == b""
    assert link.fault() == says


def test_looking_at_its_errors_moves_nothing(make: Make) -> None:
    """The process goes on where it was."""
    link = make(
        "import sys\nfor word in ('one', 'two'):\n    print(word, file=sys.stderr, flush=True); sys.stdin.read(1)"
    )
    for words in (["one"], ["one", "two"]):
        deadline = time.monotonic() + 20
        while link.errors().split() != words:
            assert time.monotonic() < deadline, link.errors()
            time.sleep(0.01)
        link.stdin.write(b"!")


@pytest.mark.parametrize(
    ("ignores", "status"), [("signal.SIGUSR1", -signal.SIGTERM), ("signal.SIGTERM", -signal.SIGKILL)]
)
def test_a_process_that_stays_is_ended(make: Make, ignores: str, status: int) -> None:
    link = make(
        f"import os, signal, time\nsignal.signal({ignores}, signal.SIG_IGN)\nos.write(1, b'!')\ntime.sleep(60)",
        farewell=0.2,
    )
    assert link.stdout.read(1) == b"!"
    link.close()
    assert link.process.returncode == status


def test_an_interrupt_of_the_terminal_does_not_reach_it(make: Make) -> None:
    link = make("import os; os.write(1, b'%d' % os.getpgid(0)); os.read(0, 1)")
    assert int(link.stdout.read(20)) == link.process.pid != os.getpgid(0)
    assert not link.ended(0)
    link.close()
    assert link.process.returncode == 0


def test_its_environment_directory_and_descriptors(make: Make) -> None:
    reading, writing = os.pipe()
    program = f"import os; os.write({writing}, repr((os.getcwd(), sorted(os.environ))).encode())"
    make(program, environment={"LC_ALL": "C"}, directory="/", descriptors=[writing])
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        assert file.read() == "('/', ['LC_ALL'])"


@pytest.mark.parametrize(
    ("command", "says"),
    [("/none/ssh", "cannot run /none/ssh: No such file or directory"), ("a\0b", "embedded null byte")],
)
def test_what_cannot_be_run(command: str, says: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(UserError) as raised:
        ProcessLink([command], hint="install it")
    assert says in str(raised.value)
    assert raised.value.hint == "install it"
    assert len(os.listdir("/proc/self/fd")) <= len(before)
