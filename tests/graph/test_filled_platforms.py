"""Platforms of the catalogue: named by a target, taken over and changed by a declaration."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.api import Backend, Platform
from compressbuild.compressfile.nodes import Map, Scalar, located, plain
from compressbuild.errors import CompressfileError, Mark
from compressbuild.graph.platforms import filled
from compressbuild.platforms import Facts, assess
from compressbuild.project import Project
from compressbuild.registry import discover


def project(tmp_path: Path, platforms: str, *names: str) -> Project:
    (tmp_path / "m.onnx").write_bytes(b"any")
    targets = "".join(f"  t{i}: {{from: m, platform: {name}}}\n" for i, name in enumerate(names))
    text = f"version: 1\nmodels:\n  m: {{file: m.onnx}}\nplatforms:\n{platforms}targets:\n{targets}"
    (tmp_path / "Compressfile").write_text(text)
    return Project(tmp_path / "Compressfile")


def compiled(found: Project, target: str) -> dict:
    graph = found.graph
    return dict(graph.nodes[graph.targets[target].artifact].params)


def problems(found: Project) -> list[tuple[str, str | None, int]]:
    with pytest.raises(CompressfileError) as caught:
        _ = found.graph
    return [(d.message, d.hint, d.mark.line) for d in caught.value.diagnostics]


def test_a_target_names_one_directly(tmp_path: Path) -> None:
    found = project(tmp_path, "", "rtx-ada", "cpu-any")
    assert compiled(found, "t0")["compute-capability"] == "sm89"
    assert compiled(found, "t1")["provider"] == "cpu"


def test_one_is_taken_over_and_changed(tmp_path: Path) -> None:
    found = project(tmp_path, "  ada: {like: rtx-ada, flags: [strict-nans], optimization-level: 2}\n", "ada", "rtx-ada")
    ours, theirs = compiled(found, "t0"), compiled(found, "t1")
    assert (ours["compute-capability"], ours["flags"], ours["optimization-level"]) == ("sm89", ["strict-nans"], 2)
    assert (theirs["flags"], theirs["optimization-level"]) == ([], None)
    changed = project(tmp_path, "  ada: {like: rtx-ada, compute-capability: [sm89, sm120]}\n", "ada")
    assert compiled(changed, "t0")["compute-capability"] == ["sm89", "sm120"]


def test_equal_platforms_by_any_name_are_one_node(tmp_path: Path) -> None:
    found = project(
        tmp_path,
        "  ada: {like: rtx-ada}\n  own: {backend: tensorrt-rtx, compute-capability: sm89}\n",
        "ada", "own", "rtx-ada",
    )  # fmt: skip
    assert len({found.graph.targets[name].artifact for name in ("t0", "t1", "t2")}) == 1


def test_a_declared_platform_hides_that_of_the_catalogue(tmp_path: Path) -> None:
    found = project(tmp_path, "  rtx-ada: {backend: onnxruntime, threads: 3}\n", "rtx-ada")
    assert compiled(found, "t0")["threads"] == 3


def test_requirements_come_along_unless_the_file_has_its_own(tmp_path: Path) -> None:
    found = project(
        tmp_path,
        "  kept: {like: arm64-server}\n  dropped: {like: arm64-server, requires: {}}\n"
        "  others: {like: arm64-server, requires: {memory: 9TiB}}\n",
        "kept", "dropped", "others",
    )  # fmt: skip
    found.facts = Facts.fixed({"os": "Linux", "cpu.arch": "x86_64", "cpu.isa": ["avx2"], "memory": 2**30})
    missing = {name: [m.what for m in found.graph.targets[name].missing] for name in ("t0", "t1", "t2")}
    assert any(what.startswith("cpu.arch aarch64") for what in missing["t0"])
    assert missing["t1"] == []
    assert [what.partition(" of")[0] for what in missing["t2"]] == ["memory"]


def test_unknown_names_are_located(tmp_path: Path) -> None:
    with pytest.raises(CompressfileError) as caught:
        project(tmp_path, "", "rtx-adda")
    (problem,) = caught.value.diagnostics
    assert (problem.message, problem.hint) == ("unknown platform 'rtx-adda'", "did you mean 'rtx-ada'?")
    assert problems(project(tmp_path, "  mine: {like: rtx-adda}\n", "mine")) == [
        ("unknown platform 'rtx-adda'", "did you mean 'rtx-ada'?", 5)
    ]


def test_a_wrong_setting_beside_like_is_located(tmp_path: Path) -> None:
    (problem,) = problems(project(tmp_path, "  mine: {like: rtx-ada, compute-capabilty: sm86}\n", "mine"))
    assert problem[0] == "backend 'tensorrt-rtx' has no parameter 'compute-capabilty'"
    assert problem[1:] == ("did you mean 'compute-capability'?", 5)


def test_every_platform_of_the_catalogue_is_one_of_its_backend(tmp_path: Path) -> None:
    registry = discover(cache=None)
    assert registry.problems == ()
    names = sorted(registry.platforms)
    declared = "".join(f"  p{i}: {{like: {name}}}\n" for i, name in enumerate(names))
    graph = project(tmp_path, declared).graph  # settings and requirements of every one are checked
    assert list(graph.spec.platforms) == [f"p{i}" for i in range(len(names))]
    for record in registry.platforms.values():
        assert record.summary
        assess(record, registry.backends[record.backend], Facts.fixed({"os": "Linux"}))


def test_assess_tells_building_from_running() -> None:
    from compressbuild.api import Needs

    facts = Facts.fixed({"os": "Linux", "cpu.arch": "x86_64"})
    backend = Backend(
        name="b", compile="a:b", load="a:b", run_needs=Needs(modules=("no_such_runtime",), install="get it")
    )
    able = assess(Platform(name="p", backend="b"), backend, facts)
    assert (able.build, [m.what for m in able.run]) == (
        (),
        ["the Python package no_such_runtime (not installed)"],
    )
    unable = assess(Platform(name="p", backend="b", requires={"cpu.arch": "aarch64"}), backend, facts)
    assert unable.build[0].what == "cpu.arch aarch64 (this host has x86_64)"


def test_filled_settings_are_where_the_name_is() -> None:
    mark, at = Mark("f", 3, 1), Mark("f", 3, 9)
    from compressbuild.compressfile.spec import PlatformSpec

    declared = PlatformSpec(
        "mine", mark, "", Map(((Scalar("b", mark), Scalar(5, mark)),), mark), None, "x", {"like": at}
    )
    found = filled(declared, Platform(name="x", backend="rt", settings={"a": [1, {"k": "v"}], "b": 2}))
    assert (found.backend, plain(found.settings)) == ("rt", {"a": [1, {"k": "v"}], "b": 5})
    assert found.settings.entries[0][1].mark == at
    assert plain(located({"x": [True, None, 1.5]}, mark)) == {"x": [True, None, 1.5]}
