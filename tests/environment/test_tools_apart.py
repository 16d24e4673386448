"""Two techniques whose requirements contradict each other, in one build; and what a change of one lock re-runs."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from command import CBUILD, Ran
from gpus import DEVICES, two_gpus

from compressbuild.execute.borrow import Borrowed
from compressbuild.execute.events import EnvironmentStatus, NodeFinished, TargetFinished


def statuses(ran: Ran) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in ran.events:
        if isinstance(event, EnvironmentStatus):
            found.setdefault(event.environment, []).append(event.status)
    return found


def offline(work) -> dict[str, str]:
    """Nothing to install from: no network, no wheels, an empty cache of uv's."""
    return {"UV_OFFLINE": "1", "UV_FIND_LINKS": "", "UV_CACHE_DIR": str(work.root.parent / "empty")}


def test_each_tool_runs_in_its_own_environment_and_sees_no_other(first_build):
    assert (first_build.root / "build/both/value").read_text() == "abc 1.0 2.0"
    for name in ("old", "new"):
        log = (first_build.root / f".cbuild/logs/both~tool.{name}.log").read_text()
        assert f"prefix {first_build.place(name)} click False False" in log


def test_what_lies_beside_a_borrowed_package_is_not_found(tmp_path):
    """Installed, the engine and all its libraries lie in one directory."""
    for name in ("engine", "library"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "engine" / "part.py").write_text("")
    finder = Borrowed({"engine": str(tmp_path)})
    found = finder.find_spec("engine")
    assert found is not None
    assert found.origin == str(tmp_path / "engine/__init__.py")
    assert finder.find_spec("library") is None
    assert finder.find_spec("engine.part", found.submodule_search_locations) is None  # left to Python itself


def test_a_second_build_without_a_network_runs_nothing(built):
    again = built.json("all", **offline(built))
    assert (again.started, statuses(again)) == ([], {})
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    apart = subprocess.run(["unshare", "-rn", CBUILD, "all", "-v"], cwd=built.root, env=built.environment(),
                           capture_output=True, text=True, check=False)  # fmt: skip
    if "unshare" in apart.stderr:
        pytest.skip(f"no network namespace: {apart.stderr}")
    assert apart.returncode == 0, apart.stderr
    assert "(0 run," in apart.stdout or "nothing to do" in apart.stdout


def test_a_removed_environment_is_named_and_not_missed_until_a_step_needs_it(built):
    place = built.place("new")
    shutil.rmtree(place)
    plain = built("all", **offline(built))
    assert f"missing   environment new  {place}, with 2 distributions of" in plain.out
    assert "(0 run," in plain.out or "nothing to do" in plain.out

    built.edit("f.txt", "abc", "abd")
    lost = built("all", code=4, **offline(built))
    assert f"environment 'new' (the lock {built.site}/twotools/locks/new.txt, {place}) is not made" in lost.err
    assert "tinytool" in lost.err
    assert "'cbuild env make new' makes it" in lost.err
    assert "Traceback" not in lost.text
    assert "environment 'old'" not in lost.err
    built("older", **offline(built))  # what needs the other environment alone is built
    assert statuses(built.json("all")) == {"new": ["making", "made"]}
    assert (built.root / "build/both/value").read_text() == "abd 1.0 2.0"


def test_a_build_that_keeps_going_loses_only_what_needs_the_environment(built):
    shutil.rmtree(built.place("new"))
    built.edit("f.txt", "abc", "abd")
    ran = built.json("all", "-k", code=1, **offline(built))
    ended = {event.label: (event.status, event.cause) for event in ran.events if isinstance(event, NodeFinished)}
    assert ended["both/tool.new"] == ("failed", "unavailable")
    assert ended["both/tool.old"] == ("built", "")
    assert statuses(ran) == {"new": ["making", "failed"]}
    targets = {event.target: event.status for event in ran.events if isinstance(event, TargetFinished)}
    assert targets == {"both": "failed", "older": "published", "plain": "published"}
    said = built("all", "-k", code=1, **offline(built))
    assert "environment 'new' (the lock" in said.text
    assert "'cbuild env make new' makes it" in said.text
    assert "Traceback" not in said.text
    assert built("all").out.count("published") == 1  # with the network, the one that is left


def test_an_edited_lock_runs_that_tool_and_no_other(built):
    built.lock("new", "3.0")
    ran = built.json("all")
    assert ran.started == ["both/tool.new"]
    assert statuses(ran) == {"new": ["making", "made"]}
    assert (built.root / "build/both/value").read_text() == "abc 1.0 3.0"
    built.lock("new", "2.0")  # both are kept
    back = built.json("all")
    assert (back.started, statuses(back)) == ([], {})


def test_the_reason_is_the_lock(built):
    built.lock("new", "3.0")
    said = built("-n", "both").out
    assert "tinytool" in said
    assert "2.0" in said
    assert "3.0" in said


def test_other_files_of_the_same_version_count(built):
    path = built.site / "twotools/locks/new.txt"
    path.write_text(path.read_text().replace(" \\\n", f" \\\n    --hash=sha256:{'0' * 64} \\\n", 1))
    said = built("-n", "all", "-v").out
    assert "run      both/tool.new  (lock: " in said
    assert "cached   both/tool.old" in said


def test_comments_and_the_order_of_a_lock_do_not_count(built):
    path = built.site / "twotools/locks/new.txt"
    text = path.read_text()
    tool, _, worker = text.removeprefix("# made for a test\n").partition("msgspec==")
    path.write_text(f"# another comment\nmsgspec=={worker}{tool}")
    assert path.read_text() != text
    ran = built.json("all")
    assert (ran.started, statuses(ran)) == ([], {})


def test_the_compressfile_can_name_another_lock(built):
    text = (built.site / "twotools/locks/new.txt").read_text()
    built.lock("new", "3.0")
    built.write("locks/ours.txt", (built.site / "twotools/locks/new.txt").read_text())
    (built.site / "twotools/locks/new.txt").write_text(text)
    built.edit("Compressfile", "models:", "environments: {new: {requirements: locks/ours.txt}}\nmodels:")
    assert built.json("all").started == ["both/tool.new"]
    assert (built.root / "build/both/value").read_text() == "abc 1.0 3.0"


PLATFORMS = """platforms:
  past: {backend: run-old}
  present: {backend: run-new}
evaluate: {metrics: [generation], baseline: first}
targets:
  first: {from: m, platform: past}
  second: {from: m, platform: present}
  third: {from: m, steps: [tool.old], platform: past}
"""


def test_an_artifact_is_run_in_the_environment_of_its_backend(built):
    """A metric compares with the baseline where one process can hold both."""
    built.edit("Compressfile", "targets:\n", PLATFORMS)
    ran = built.json("first", "second", "third")
    values = {name: target.metrics["generation"] for name, target in ran.targets.items()}
    assert values == {"first": 1.0, "second": 2.0, "third": 1.0}
    compared = {name: built.root.joinpath("build", name, "metrics.json").read_text() for name in values}
    assert '"baseline": 1' in compared["third"]
    assert '"baseline": 1' not in compared["second"]


@pytest.mark.parametrize(("limit", "code"), [(3, 0), (1.5, 3)])
def test_a_ratio_of_two_environments_is_that_of_two_measurements(built, limit, code):
    gate = f"platform: present, gates: {{generation: {{max-ratio: {limit}, against: first}}}}}}"
    built.edit("Compressfile", "targets:\n", PLATFORMS.replace("platform: present}", gate))
    assert "Traceback" not in built("second", code=code).text


def test_two_builds_at_once_make_each_environment_once(fresh):
    calls = fresh.root.parent / "calls"
    slow = fresh.uv(f'echo "$1" >> {calls}; sleep 0.3')
    one, two = fresh.start("all", "--json", **slow), fresh.start("all", "--json", **slow)
    for process in (one, two):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert calls.read_text().split().count("venv") == 2
    assert (fresh.root / "build/both/value").read_text() == "abc 1.0 2.0"


def test_locked_software_is_that_of_the_engine(built):
    """Two environments may hold two versions of one tool, and Compressfile.lock has one line for each."""
    built("lock")
    assert "tinytool" not in (built.root / "Compressfile.lock").read_text()
    built("lock", "--check")


def test_each_has_a_gpu_of_its_own(built, tmp_path):
    """Also where an environment brings its own CUDA: Python and libraries see one device, and no two steps share it."""
    built.edit("Compressfile", "steps: [tool.old, tool.new]", "steps: [{tool.new: {}, gpus: 1}]")
    built.edit(
        "Compressfile", "older: {from: m, steps: [tool.old]}", "older: {from: m, steps: [{tool.old: {}, gpus: 1}]}"
    )
    built.edit("f.txt", "abc", "abe")
    path = f"{two_gpus(tmp_path / 'smi')}:{built.environment()['PATH']}"
    ran = built.json("both", "older", "-j", "2", PATH=path)
    assert {"both/tool.new", "older/tool.old"} <= set(ran.started)
    seen = []
    for name in ("both~tool.new", "older~tool.old"):
        log = (built.root / f".cbuild/logs/{name}.log").read_text()
        seen += [line.split()[1:] for line in log.splitlines() if line.startswith("devices ")]
    assert sorted(seen) == [[device, repr(device.encode())] for device in DEVICES]


def test_with_another_machine_it_is_refused_with_the_reason(built):
    """Environments are made on this machine only: a target whose steps run elsewhere says so, and the others build."""
    built.edit("Compressfile", "version: 1", 'version: 1\nhost: "nobody@127.0.0.1"')
    refused = built("older", code=4)
    assert "the environment 'old', which no other machine can have yet" in refused.err
    assert "Traceback" not in refused.text
    refused = built("all", code=4)
    assert "the environment 'old', which no other machine can have yet" in refused.text
