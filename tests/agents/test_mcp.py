"""cbuild mcp, through the SDK's own client and a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from command import CBUILD, TOY_PATH, Work
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

TEXT = """\
version: 1
vars: {salt: 1}
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  first: {from: f, steps: [{toy.mix: {salt: "${vars.salt}"}}]}
  second: {from: first, steps: [toy.copy], gates: {length: {max: 9}}}
  missed: {from: f, steps: [toy.copy: {note: n}], gates: {length: {max: 2}}}
  broken: {from: f, steps: [toy.copy: {fail: raise}]}
  slow: {from: f, steps: [toy.copy: {seconds: 300}]}
groups: {good: [first, second]}
"""
READING = {"list", "plan", "why", "advise", "report"}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path / "work", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    return work


@asynccontextmanager
async def connected(work: Work, *words: str, **env: str) -> AsyncIterator[Client]:
    environment = work.environment(**env)
    server = StdioServerParameters(command=CBUILD, args=["mcp", *words], env=environment, cwd=work.root)
    async with Client(server) as client:
        yield client


def talk(work: Work, conversation: Callable[[Client], Awaitable[None]], *words: str, **env: str) -> None:
    async def run() -> None:
        with anyio.fail_after(120):
            async with connected(work, *words, **env) as client:
                await conversation(client)

    anyio.run(run)
    assert work.settle() == []


def text(answer: CallToolResult) -> str:
    (content,) = answer.content
    return content.text


async def call(client: Client, tool: str, *, failed: bool = False, **arguments: Any) -> dict[str, Any]:
    """What a tool answers; its text says the same."""
    answer = await client.call_tool(tool, arguments)
    assert answer.structured_content is not None, answer.content
    assert json.loads(text(answer)) == answer.structured_content
    assert answer.is_error is failed
    return answer.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a call that could not be answered."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    assert answer.structured_content is None
    assert "Traceback" not in text(answer)
    return text(answer)


def test_every_tool_says_what_it_is_and_what_it_takes(work: Work) -> None:
    async def conversation(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == READING | {"build"}
        assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == READING
        for tool in tools.values():
            assert tool.description
            for each in tool.input_schema["properties"].values():
                assert each["description"]
                assert "type" in each or "anyOf" in each
        assert "set" not in tools["build"].input_schema["properties"]  # no gate is loosened from here
        skill = await client.read_resource("skill://model-compression")
        assert skill.contents[0].text.startswith("---\nname: model-compression\n")

    talk(work, conversation)


def test_it_lists_plans_builds_explains_advises_and_reports(work: Work) -> None:
    async def conversation(client: Client) -> None:
        listed = await call(client, "list")
        assert [each["target"] for each in listed["targets"]] == ["first", "second", "missed", "broken", "slow"]
        planned = await call(client, "plan", targets=["good"])
        assert planned["counts"] == {"run": 1, "may run": 4, "cached": 0}
        assert [node["node"] for node in planned["nodes"]][:2] == ["f/source", "first/toy.mix"]
        assert not (work.root / "build").exists()

        said: list[tuple[float, float | None]] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            said.append((done, total))

        built = await client.call_tool("build", {"targets": ["good"]}, progress_callback=progress)
        assert built.structured_content["outcome"] == "built"
        assert [each["directory"] for each in built.structured_content["targets"]] == ["build/first", "build/second"]
        assert said[-1] == (5.0, 5.0)
        assert said == sorted(set(said))

        changed = await call(client, "why", targets=["second"], set={"vars.salt": 2})
        assert changed["nodes"][1]["why"]["changes"][0] | {"part": ""} == {
            "part": "", "name": "salt", "old": 1, "new": 2,
        }  # fmt: skip
        assert (await call(client, "plan"))["counts"]["cached"] == 5  # the change was for that call
        advice = await call(client, "advise", targets=["second"])
        assert advice["advice"][0]["check"] == "changed-nothing"
        assert "+  second: {from: first, steps: []" in advice["advice"][0]["patch"]
        reported = await call(client, "report", targets=["second"])
        assert reported["targets"][0]["metrics"]["length"]["value"] == 1.0
        assert reported["targets"][0]["gates"]
        whole = await call(client, "report", targets=["second"], full=True)
        assert whole["nodes"]
        assert whole["targets"][0].keys() > reported["targets"][0].keys()

    talk(work, conversation)


def test_a_missed_gate_and_a_failed_node_are_errors_that_say_why(work: Work) -> None:
    async def conversation(client: Client) -> None:
        missed = await call(client, "build", failed=True, targets=["missed"])
        assert missed["outcome"] == "a gate failed"
        assert missed["targets"][0]["reason"].startswith("length max fail")
        assert not (work.root / "build" / "missed").exists()
        broken = await call(client, "build", failed=True, targets=["broken", "first"], keep_going=True, jobs=1)
        assert broken["outcome"] == "a node failed"
        assert broken["failed"][0]["error"] == "RuntimeError: asked to fail"
        assert {each["target"]: each["status"] for each in broken["targets"]} == {
            "broken": "failed", "first": "published",
        }  # fmt: skip
        assert "about to raise" in Path(broken["failed"][0]["log"]).read_text()  # what a worker prints stays there

    talk(work, conversation)


def test_what_cannot_be_answered_is_an_error_with_its_place_and_a_hint(work: Work) -> None:
    async def conversation(client: Client) -> None:
        said = await refused(client, "plan", targets=["frist"])
        assert "error: unknown target 'frist'\n  hint: did you mean 'first'?" in said
        assert "Field required" in await refused(client, "why")
        assert "at least 1" in await refused(client, "build", targets=[])
        assert "unknown target '--check'" in await refused(client, "build", targets=["--check"])
        assert "unknown variable 'vars.slat'" in await refused(client, "plan", set={"vars.slat": 1})
        assert "null byte" in await refused(client, "plan", targets=["a\0b"])
        assert "cannot be run" in await refused(client, "plan", targets=["x" * 10_000_000])
        assert "Unknown tool" in await refused(client, "clean")
        work.edit("Compressfile", "groups: {good", "gruops: {good")
        assert "Compressfile:11:1: error: unknown key 'gruops'" in await refused(client, "list")
        assert "did you mean 'groups'?" in await refused(client, "build", targets=["first"])
        (work.root / "Compressfile").unlink()
        assert "there is no Compressfile" in await refused(client, "list")
        work.write("Compressfile", TEXT)
        assert (await call(client, "list"))["targets"]

    talk(work, conversation)


def test_the_project_is_the_one_that_the_server_was_started_for(work: Work) -> None:
    work.write("other/Compressfile", TEXT.replace("f.txt", "g.txt"))
    work.write("other/g.txt", "abcd")

    async def conversation(client: Client) -> None:
        built = await call(client, "build", targets=["missed"])
        assert built["targets"][0]["metrics"] == {"length": 4.0}
        assert (work.root / "kept").is_dir()

    loose = ("--set", "targets.missed.gates.length.max=4")
    talk(work, conversation, "-C", "other", "-f", "Compressfile", "--cache-dir", "../kept", *loose)


async def until_it_runs(work: Work, server: int) -> list[int]:
    """Until the slow node runs: the processes beside the server's."""
    while not list((work.root / ".cbuild" / "logs").glob("slow*")):
        await anyio.sleep(0.05)
    return [pid for pid in work.processes() if pid != server]


def test_a_cancelled_build_leaves_no_process_and_the_server_goes_on(work: Work) -> None:
    async def conversation(client: Client) -> None:
        (server,) = work.processes()
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "build", {"targets": ["slow"]})
            assert await until_it_runs(work, server)
            group.cancel_scope.cancel()
        began = time.monotonic()
        while work.processes() != [server]:
            assert time.monotonic() - began < 15
            await anyio.sleep(0.05)
        assert (await call(client, "plan", targets=["slow"]))["counts"]["cached"] == 1  # what was built is kept

    talk(work, conversation)


def test_a_client_that_leaves_leaves_no_process(work: Work) -> None:
    async def conversation(client: Client) -> None:
        (server,) = work.processes()
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "build", {"targets": ["slow"]})
            assert await until_it_runs(work, server)
            group.cancel_scope.cancel()

    talk(work, conversation)


HELLO = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
    '"clientInfo":{"name":"by hand","version":"1"}}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
)
BUILD = '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"build","arguments":{"targets":["slow"]}}}\n'


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_server_that_ends_ends_its_builds(work: Work, number: signal.Signals | None) -> None:
    """None: its standard input is closed. Each line that it prints is of the protocol."""
    server = subprocess.Popen(
        [CBUILD, "mcp"], cwd=work.root, env=work.environment(), text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdin is not None
    server.stdin.write(HELLO + BUILD)
    server.stdin.flush()
    anyio.run(until_it_runs, work, server.pid)
    if number is not None:
        os.kill(server.pid, number)
        out, err = "", ""
        status = server.wait(30)
        out, err = server.communicate()
        assert status == (-number if number == signal.SIGKILL else 128 + number)
    else:
        out, err = server.communicate(timeout=30)
        assert server.returncode == 0
    assert err == ""
    assert [json.loads(line)["jsonrpc"] for line in out.splitlines()]
    assert work.settle(20) == []


def test_what_a_plugin_prints_does_not_reach_the_protocol(work: Work, tmp_path: Path) -> None:
    work.write("loud/sitecustomize.py", "import os\nos.write(1, b'hello from a plugin\\n')\n")

    async def conversation(client: Client) -> None:
        assert "is not an answer: 'hello from a plugin'" in await refused(client, "list")
        assert (await call(client, "build", targets=["first"]))["outcome"] == "built"

    path = os.pathsep.join([TOY_PATH, str(work.root / "loud")])
    # The server itself starts quietly: only its commands find the loud module.
    script = work.write("quiet", f"#!{sys.executable}\nimport os\nfrom compressbuild.__main__ import main\n"
                                 f"os.environ['PYTHONPATH'] = {path!r}\nmain()\n")  # fmt: skip
    script.chmod(0o755)

    async def run() -> None:
        server = StdioServerParameters(command=str(script), args=["mcp"], env=work.environment(), cwd=work.root)
        async with Client(server) as client:
            await conversation(client)

    anyio.run(run)


def test_without_the_sdk_it_says_what_to_install(work: Work) -> None:
    work.write("none/mcp.py", "raise ImportError('planted')\n")
    ran = work("mcp", code=2, PYTHONPATH=str(work.root / "none"))
    assert ran.out == ""
    assert ran.err == ("error: 'cbuild mcp' needs the MCP SDK for Python\n  hint: pip install 'compressbuild[mcp]'\n")


def test_without_a_client_it_says_so_or_ends(work: Work) -> None:
    line = ["sh", "-c", 'exec "$0" mcp <&-', CBUILD]
    closed = subprocess.run(line, cwd=work.root, env=work.environment(), capture_output=True, text=True, timeout=60)
    assert closed.returncode == 2
    assert closed.stderr.startswith("error: there is no standard input, where the client speaks\n  hint: an agent")
    assert work("mcp").text == ""  # a client that goes at once
