"""``retries:`` by cause, and GPUs that a node has for itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import toy as toy_plugin
from toyproject import Toy

from compressbuild.build.run import Build
from compressbuild.execute.events import NodeFinished, NodeRetried
from compressbuild.execute.executor import Cause, Finished, Happening, Started
from compressbuild.execute.local import LocalExecutor
from compressbuild.execute.observe import Observe
from compressbuild.execute.places import Places
from compressbuild.execute.pools import Need, Pools
from compressbuild.platforms import Facts

MIB = 1 << 20
FILE = (
    "version: 1\nmodels: {{f: {{file: f.txt}}}}\ntargets: {{a: {{from: f, steps: [{{toy.copy: {{}}, {options}}}]}}}}\n"
)


class Failing:
    """Ends each node with the next of ``causes``, then as it should. ``memory``: the limits that it was given."""

    def __init__(self, *causes: Cause) -> None:
        self.causes = list(causes)
        self.memory: list[int | None] = []
        self.devices: list[str | None] = []
        self._done: list[Happening] = []

    def start(
        self, token: int, request: object, *, preload: object, log: object, timeout: object, memory: int | None
    ) -> None:
        from compressbuild.api import WorkRequest, WorkResult

        assert isinstance(request, WorkRequest)
        self._done.append(Started(token, os.getpid()))
        if request.run == "toy:copy":
            self.memory.append(memory)
            self.devices.append(request.env.get("CUDA_VISIBLE_DEVICES"))
            if self.causes:
                cause = self.causes.pop(0)
                self._done.append(Finished(token, WorkResult(ok=False, error=f"it {cause}"), cause))
                return
        (Path(request.out) / "value").write_text("x")
        self._done.append(Finished(token, WorkResult(ok=True), "ok"))

    def wait(self, timeout: float | None = None) -> list[Happening]:
        done, self._done = self._done, []
        return done

    def cancel(self, token: int) -> None: ...

    def close(self) -> None: ...


def build(toy: Toy, executor: object, pools: Pools | None = None) -> tuple[int, list[str], str | None]:
    """Exit code, what was retried, and the cause of the failure."""
    seen: list[object] = []
    project = toy.open()
    try:
        observe = Observe(project.state / "logs", own_dirs=(), observers=[seen.append])
        report = Build(project, project.select(("all",)), executor, Places(pools or Pools(2)), observe).run(2)  # type: ignore[arg-type]
    finally:
        project.close()
    failures = [e.cause for e in seen if isinstance(e, NodeFinished) and e.status == "failed"]
    return report.exit_code, [e.cause for e in seen if isinstance(e, NodeRetried)], failures[0] if failures else None


@pytest.mark.parametrize(
    ("options", "causes", "code", "retried", "failure"),
    [
        ("retries: {timeout: 1}", ["timeout"], 0, ["timeout"], None),
        ("retries: {timeout: 1}", ["timeout", "timeout"], 1, ["timeout"], "timeout"),
        ("retries: {timeout: 1}", ["crashed"], 1, [], "crashed"),
        ("retries: {crashed: 2}", ["crashed", "crashed"], 0, ["crashed", "crashed"], None),
        ("retries: {unavailable: 1, crashed: 1}", ["crashed", "unavailable"], 0, ["crashed", "unavailable"], None),
        ("retries: {memory: 3}", ["memory"], 1, [], "memory"),  # no limit, so nothing would be different
        ("retries: {crashed: 9}", ["raised"], 1, [], "raised"),
        ("timeout: 9", ["timeout"], 1, [], "timeout"),
    ],
)
def test_by_cause(
    toy: Toy, options: str, causes: list[Cause], code: int, retried: list[str], failure: str | None
) -> None:
    toy.write("Compressfile", FILE.format(options=options))
    assert build(toy, Failing(*causes)) == (code, retried, failure)


def test_more_memory(toy: Toy) -> None:
    toy.write("Compressfile", FILE.format(options="memory: 10MiB, retries: {memory: 2}"))
    executor = Failing("memory", "memory")
    assert build(toy, executor) == (0, ["memory", "memory"], None)
    assert executor.memory == [10 * MIB, 20 * MIB, 40 * MIB]


def test_a_real_node_is_given_more_memory(toy: Toy) -> None:
    """One that takes all there is exceeds the first limit, and then twice as much."""
    text = FILE.format(options="memory: 100MiB, retries: {memory: 1}").replace("toy.copy: {}", "toy.copy: {fail: hog}")
    toy.write("Compressfile", text)
    toy.environ = {**os.environ, "PYTHONPATH": str(Path(toy_plugin.__file__).parent)}
    with LocalExecutor(toy.environ) as executor:
        code, retried, failure = build(toy, executor)
    assert (code, retried, failure) == (1, ["memory"], "memory"), "a hog takes any limit, each in its turn"


def test_retries_and_gpus_are_in_no_key(toy: Toy) -> None:
    toy.write("Compressfile", FILE.format(options="seed: 1"))
    assert build(toy, Failing())[0] == 0
    toy.write("Compressfile", FILE.format(options="seed: 1, retries: {crashed: 2}"))
    executor = Failing()
    assert build(toy, executor)[0] == 0
    assert executor.memory == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("retries: {raised: 1}", "unknown key 'raised'"),
        ("retries: {crashed: 11}", "'crashed' of 'retries'"),
        ("retries: 3", "'retries' must be a mapping"),
        ("gpus: 0", "'gpus'"),
    ],
)
def test_bad_values(toy: Toy, options: str, says: str) -> None:
    from compressbuild.errors import CompressfileError

    toy.write("Compressfile", FILE.format(options=options))
    with pytest.raises(CompressfileError) as raised:
        toy.open()
    assert says in str(raised.value)


# -- GPUs --------------------------------------------------------------------------------------------------------------


def test_each_has_devices_of_its_own() -> None:
    pools = Pools(8, gpus=("a", "b", "c"))
    assert pools.try_acquire(1, Need(gpus=1), 1)
    assert pools.try_acquire(2, Need(gpus=2), 1)
    assert (pools.devices(1), pools.devices(2)) == (("a",), ("b", "c"))
    assert not pools.try_acquire(3, Need(gpus=1), 1)
    pools.release(1)
    pools.next_round()
    assert pools.try_acquire(3, Need(gpus=1), 1)
    assert pools.devices(3) == ("a",)


def test_what_needs_none_passes_one_that_waits_for_a_gpu() -> None:
    pools = Pools(8, gpus=("a",))
    assert pools.try_acquire(1, Need(gpus=1), 100)
    assert not pools.try_acquire(2, Need(gpus=1), 1)
    assert pools.try_acquire(3, Need(), 1000), "it takes nothing that 2 waits for"
    assert not pools.try_acquire(4, Need(gpus=1), 1), "2 comes first"


def test_the_node_sees_its_own_alone(toy: Toy) -> None:
    toy.write("Compressfile", FILE.format(options="gpus: 1"))
    project_facts = Facts.fixed({"gpu.name": "a mocked GPU"})
    plain = type(toy).open

    def opened(self: Toy, overrides: object = ()) -> object:
        project = plain(self)
        project.__dict__["facts"] = project_facts
        return project

    toy.open = opened.__get__(toy)  # type: ignore[method-assign]
    executor = Failing()
    assert build(toy, executor, Pools(2, gpus=("GPU-7", "GPU-8")))[0] == 0
    assert executor.devices == ["GPU-7"]


def test_without_a_gpu_it_is_skipped(toy: Toy) -> None:
    toy.write("Compressfile", FILE.format(options="gpus: 1"))
    project = toy.open()
    project.__dict__["facts"] = Facts.fixed({})
    assert "needs an NVIDIA GPU" in project.select(("all",)).skipped["a"]
    project.close()
