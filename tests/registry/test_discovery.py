"""Real distributions in a directory on ``sys.path``, discovered as installed ones are."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from compressbuild.api import AnswerMetric, ArtifactMetric, Backend, Kind, Needs, Platform, RunMetric, Stack, Technique
from compressbuild.errors import PluginError
from compressbuild.registry import Registry, discover, tool_versions
from compressbuild.registry.memory import read
from compressbuild.registry.records import _TYPES, _annotations

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "networkx")

GOOD = """
    from compressbuild.api import Kind, Params, Technique, hookimpl

    class Scale(Params):
        '''Multiply every weight by a factor.'''
        factor: float = 0.5

    @hookimpl
    def compressbuild_kinds():
        yield Kind(name="weights", files=("w.bin",))

    @hookimpl
    def compressbuild_techniques():
        yield Technique(name="good.scale", params=Scale, run="good.work:scale", consumes=("weights",))
"""


def technique(name: str, **fields: str) -> str:
    """The source of a plugin that offers one technique."""
    written = {"run": "'m:f'", **fields}
    arguments = ", ".join(f"{key}={value}" for key, value in written.items())
    return f"""
        from compressbuild.api import *
        @hookimpl
        def compressbuild_techniques():
            yield Technique(name={name!r}, {arguments})
    """


def hook(whats: str, record: str) -> str:
    """The source of a plugin that offers one record."""
    return f"from compressbuild.api import *\n@hookimpl\ndef compressbuild_{whats}(): yield {record}"


class Site:
    """A directory of installed distributions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()

    def install(self, name: str, source: str, *, version: str = "1.0", plugin: str | None = None) -> None:
        """Distribution ``{name}-dist`` with the module ``name`` and the entry point ``plugin`` (``name`` if None)."""
        (self.root / f"{name}.py").write_text(textwrap.dedent(source))
        info = self.root / f"{name}_dist-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: {version}\n")
        (info / "RECORD").write_text(f"{name}.py,,\n")
        (info / "entry_points.txt").write_text(f"[compressbuild]\n{plugin or name} = {name}\n")

    def settle(self) -> None:
        """Let the last installation be long ago."""
        os.utime(self.root, ns=(10**18, 10**18 + os.stat(self.root).st_mtime_ns % 10**9))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    standard = [entry for entry in sys.path if "site-packages" not in entry and entry.startswith(sys.base_prefix)]
    monkeypatch.setattr(sys, "path", [str(site.root), *standard])
    before = set(sys.modules)
    yield site
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site.root) in str(sys.modules[name].__file__):
            del sys.modules[name]


def only_problem(registry: Registry) -> str:
    (problem,) = registry.problems
    return problem.message


def test_a_good_plugin(site: Site) -> None:
    site.install("good", GOOD, version="1.2")
    registry = discover()
    assert registry.problems == ()
    (plugin,) = registry.plugins
    assert (plugin.name, plugin.module, plugin.distribution, plugin.version) == ("good", "good", "good-dist", "1.2")
    assert (plugin.techniques, plugin.kinds, plugin.problem) == (("good.scale",), ("weights",), None)
    assert registry.technique("good.scale").params().factor == 0.5
    assert registry.kind("weights").files == ("w.bin",)
    assert registry.owner["technique", "good.scale"] == "good"
    with pytest.raises(TypeError):
        registry.techniques["x"] = registry.technique("good.scale")  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nowhere_to_be_found",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("raise RuntimeError('boom\\nsecond line')", "cannot be imported: RuntimeError: boom (site/bad.py:1)"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3 (site/bad.py:1)"),
        ("def f(:", "cannot be imported: SyntaxError: invalid syntax (bad.py:1)"),
        ("x = 1", "implements no hook of compressbuild"),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_techniques():\n    return 1 / 0",
            "failed in compressbuild_techniques: ZeroDivisionError: division by zero (site/bad.py:4)",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_techniques(): yield {'name': 'x'}",
            "offers a dict as a technique",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\n"
            "def compressbuild_techniques(): yield Kind(name='k', files=('*',))",
            "offers a Kind as a technique",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\n"
            "def compressbuild_techniques(): return Technique(name='x', run='a:b')",
            "returned Technique from compressbuild_techniques",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_techniques(): pass",
            "returned None from compressbuild_techniques",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_techniqes(): return []",
            "implements an unknown hook 'compressbuild_techniqes'",
        ),
        (
            "from compressbuild.api import *\n@hookimpl(wrapper=True)\ndef compressbuild_techniques(): yield",
            "wraps 'compressbuild_techniques'",
        ),
        (technique("Bad Name"), "offers a technique with the name 'Bad Name'"),
        (technique("x", run="'no_colon'"), "technique 'x': 'run' must be 'module:function', not 'no_colon'"),
        (technique("x", consumes="'onnx'"), "technique 'x': 'consumes' must be a tuple of strings, not 'onnx'"),
        (technique("x", version="0"), "technique 'x': 'version' must be 1 or more, not 0"),
        (technique("x", version="'1'"), "technique 'x': 'version' must be a whole number, not '1'"),
        (technique("x", params="dict"), "technique 'x': 'params' must be a subclass of Params, not <class 'dict'>"),
        (
            technique("x", needs="Needs(libraries=('libx.so',))"),
            "technique 'x': 'needs' must be a well-formed Needs, not Needs(",
        ),
        (
            "from compressbuild.api import *\nclass P(Params): x: int = 1\n"
            "@hookimpl\ndef compressbuild_techniques(): yield Technique(name='x', run='a:b', params=P)",
            "technique 'x': P has no docstring",
        ),
        (
            "from __future__ import annotations\nfrom compressbuild.api import *\n"
            "class P(Params):\n    'help'\n    x: Nowhere = 1\n"
            "@hookimpl\ndef compressbuild_techniques(): yield Technique(name='x', run='a:b', params=P)",
            "technique 'x': the types of P are unusable: NameError: name 'Nowhere' is not defined",
        ),
        (
            "from compressbuild.api import *\nclass P(Params):\n    'help'\n    needs: int = 1\n"
            "@hookimpl\ndef compressbuild_techniques(): yield Technique(name='x', run='a:b', params=P)",
            "technique 'x': P calls a parameter 'needs', as a method of Params is called",
        ),
        (
            "from compressbuild.api import *\nclass P(Params):\n    'help'\n    def needs(self): pass\n"
            "@hookimpl\ndef compressbuild_techniques(): yield Technique(name='x', run='a:b', params=P)",
            "technique 'x': 'needs' of P must give a well-formed Needs, not None",
        ),
        (technique("x", consumes="('tensors',)"), "technique 'x' consumes 'tensors', a kind that no plugin offers"),
        (technique("x", produces="'weightz'"), "technique 'x' produces 'weightz', a kind that no plugin offers"),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_backends():\n"
            "    yield Backend(name='b', compile='a:b', load='a:c', consumes=('weights',), run_facts=('cpu.izza',))",
            "backend 'b': unknown platform fact 'cpu.izza'",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_backends():\n"
            "    yield Backend(name='b', compile='a:b', load='a:c', consumes=('weights',), qdq_scheme='8 bits')",
            "backend 'b': 'qdq_scheme' cannot be '8 bits'",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_metrics():\n"
            "    yield ArtifactMetric(name='m', run='a:b', of='modle')",
            "metric 'm': 'of' cannot be 'modle'",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_metrics():\n"
            "    yield RunMetric(name='m', run='a:b', role='qualty')",
            "metric 'm': 'role' cannot be 'qualty'",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_metrics():\n"
            "    yield RunMetric(name='m', run='a:b', priority=-1)",
            "metric 'm': 'priority' must be 0 or more, not -1",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_metrics():\n"
            "    yield AnswerMetric(name='m', run='a:b', via='predictt')",
            "metric 'm' goes via 'predictt', a technique that no plugin offers",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_metrics():\n"
            "    yield Metric(name='m', run='a:b')",
            "offers a Metric as a metric",
        ),
        (
            technique("x", stack="Stack(tools='numpy')"),
            "technique 'x': 'stack' must be a well-formed Stack, not Stack(",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_metrics():\n"
            "    yield RunMetric(name='m', run='a:b', model='onnx')",
            "metric 'm': 'model' must be a tuple of strings, not 'onnx'",
        ),
        (
            "from compressbuild.api import *\n@hookimpl\ndef compressbuild_kinds(): yield Kind(name='k', files=())",
            "kind 'k': 'files' is empty",
        ),
    ],
)
def test_a_bad_plugin_is_named_and_isolated(site: Site, source: str, message: str) -> None:
    site.install("bad", source)
    site.install("good", GOOD)
    registry = discover()
    assert only_problem(registry).startswith(message)
    bad, good = registry.plugins
    assert bad.problem is not None
    assert (bad.problem.plugin, bad.problem.distribution) == ("bad", "bad-dist")
    assert good.problem is None
    assert set(registry.techniques) == {"good.scale"}
    assert registry.technique("good.scale").run == "good.work:scale"


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        (technique("x", tools="('numpy',)"), "Technique has no field 'tools'", "stack=Stack(tools=…)"),
        (technique("x", consume="('onnx',)"), "Technique has no field 'consume'", "did you mean 'consumes'?"),
        (hook("backends", "Backend(name='x', preload=())"), "Backend has no field 'preload'", "Stack(preload=…)"),
        (hook("kinds", "Kind(name='x', load_needs=Needs())"), "Kind has no field 'load_needs'", "needs=Needs(…)"),
        (hook("metrics", "Metric(name='x', of='runner')"), "Metric has no field 'of'", "RunMetric (of 'runner')"),
        (hook("metrics", "RunMetric(name='x', via='c')"), "RunMetric has no field 'via'", "AnswerMetric"),
        (hook("techniques", "Stack(moduls=())"), "Stack has no field 'moduls'", "did you mean 'modules'?"),
    ],
)
def test_a_field_that_a_record_does_not_have(site: Site, source: str, message: str, hint: str) -> None:
    site.install("bad", source)
    registry = discover()
    assert re.fullmatch(
        rf"failed in compressbuild_\w+: UnknownField: {message} \(\S+bad.py:\d\)", registry.problems[0].message
    )
    assert hint in (registry.problems[0].hint or "")


def test_the_good_records_of_a_bad_plugin_still_work(site: Site) -> None:
    site.install(
        "half",
        """
        from compressbuild.api import *
        @hookimpl
        def compressbuild_techniques():
            yield Technique(name="half.good", run="half:f")
            yield Technique(name="half.bad", run="nonsense")
            raise OSError("no more")
        """,
    )
    registry = discover()
    assert set(registry.techniques) == {"half.good"}
    assert [p.message.split(" (")[0] for p in registry.problems] == [
        "technique 'half.bad': 'run' must be 'module:function', not 'nonsense'",
        "failed in compressbuild_techniques: OSError: no more",
    ]
    with pytest.raises(PluginError, match=r"technique 'half.bad' cannot be used: .*'run' must be 'module:function'"):
        registry.technique("half.bad")


def test_a_name_offered_twice_is_nobodys(site: Site) -> None:
    for name in ("one", "two"):
        site.install(name, technique("shared.name"))
    site.install("good", GOOD)
    registry = discover()
    assert set(registry.techniques) == {"good.scale"}
    with pytest.raises(PluginError) as caught:
        registry.technique("shared.name")
    assert str(caught.value) == (
        "technique 'shared.name' cannot be used: technique 'shared.name' is offered by "
        "plugin 'one' (one-dist 1.0) and plugin 'two' (two-dist 1.0)"
    )
    assert caught.value.hint == "uninstall or fix one of them"
    assert [p.plugin for p in registry.problems] == ["one", "two"]


def test_a_duplicate_kind_does_not_take_down_what_uses_it(site: Site) -> None:
    site.install("good", GOOD)
    site.install(
        "other",
        "from compressbuild.api import *\n@hookimpl\n"
        "def compressbuild_kinds(): yield Kind(name='weights', files=('x',))",
    )
    registry = discover()
    assert set(registry.techniques) == {"good.scale"}
    assert registry.kinds == {}
    with pytest.raises(PluginError, match=r"plugin 'good' \(good-dist 1.0\) and plugin 'other' \(other-dist 1.0\)"):
        registry.kind("weights")


def test_two_plugins_of_one_name(site: Site) -> None:
    site.install("first", technique("a"), plugin="same")
    site.install("second", technique("b"), plugin="same")
    registry = discover()
    assert registry.techniques == {}
    message = "is the name of 2 plugins: 'same' in first-dist 1.0 and second-dist 1.0"
    assert [p.message for p in registry.problems] == [message, message]


def test_unknown_names_get_a_suggestion(site: Site) -> None:
    site.install("good", GOOD)
    registry = discover()
    with pytest.raises(PluginError) as caught:
        registry.technique("good.scael")
    assert (str(caught.value), caught.value.hint) == ("unknown technique 'good.scael'", "did you mean 'good.scale'?")
    with pytest.raises(PluginError) as caught:
        registry.backend("weights")
    assert caught.value.hint == "'weights' is a kind"
    with pytest.raises(PluginError) as caught:
        registry.metric("xyz")
    assert caught.value.hint == "'cbuild plugins' lists what is installed"
    assert caught.value.exit_code == 2


def test_a_broken_plugin_is_blamed_for_what_it_used_to_offer(site: Site, tmp_path: Path) -> None:
    cache = tmp_path / "installed"
    site.install("good", GOOD)
    assert set(discover(cache=cache).techniques) == {"good.scale"}
    del sys.modules["good"]
    (site.root / "good.py").write_text("import missing_library_of_mine")
    for _ in range(2):  # it stays remembered while it is broken
        registry = discover(cache=cache)
        with pytest.raises(PluginError) as caught:
            registry.technique("good.scale")
        assert str(caught.value).startswith(
            "technique 'good.scale' comes with plugin 'good', which cannot be imported: ModuleNotFoundError: "
        )
    with pytest.raises(PluginError) as caught:
        discover().technique("good.scale")
    assert str(caught.value) == "unknown technique 'good.scale'"
    assert caught.value.hint is not None
    assert "plugin 'good' may offer it, but cannot be imported: ModuleNotFoundError" in caught.value.hint


def test_one_unknown_kind_of_several_is_a_warning(site: Site) -> None:
    site.install("good", GOOD)
    site.install("more", technique("more.x", consumes="('weights', 'jax-model')"))
    registry = discover()
    assert registry.problems == ()
    assert "more.x" in registry.techniques
    (plugin,) = [p for p in registry.plugins if p.name == "more"]
    assert plugin.warnings == ("technique 'more.x' also consumes 'jax-model', a kind that no plugin offers",)


def test_a_manifest_that_imports_a_model_library_is_warned_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    (site.root / "pandas.py").write_text("")
    site.install("slow", "import pandas\n" + textwrap.dedent(technique("slow.x")))
    (plugin,) = discover().plugins
    assert plugin.problem is None
    assert plugin.techniques == ("slow.x",)
    assert plugin.warnings == ("its manifest imports pandas; only the worker's functions should",)


def test_the_projects_own_modules_are_plugins_too(site: Site) -> None:
    (site.root / "mine.py").write_text(textwrap.dedent(technique("mine.x")))
    site.install("good", GOOD)
    registry = discover(extra=("mine", "good"))
    assert [(p.name, p.distribution) for p in registry.plugins] == [("good", "good-dist"), ("mine", "")]
    assert registry.owner["technique", "mine.x"] == "mine"
    assert registry.problems == ()


def test_observers_see_events_and_cannot_change_or_fail_them(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.install(
        "watch",
        """
        from compressbuild.api import hookimpl
        seen = []
        @hookimpl
        def compressbuild_event(event):
            seen.append(event["event"])
            event["values"].append("tampered")
            if event["event"] == "bad":
                raise ValueError("cannot cope")
        """,
    )
    site.install("calm", "from compressbuild.api import hookimpl\n@hookimpl\ndef compressbuild_event(): pass")
    registry = discover()
    assert registry.problems == ()
    calm, watch = registry.observers
    events = [{"event": name, "values": []} for name in ("started", "bad", "finished")]
    with caplog.at_level(logging.WARNING):
        for event in events:
            calm(event)
            watch(event)
    assert sys.modules["watch"].seen == ["started", "bad"]
    assert all(event["values"] == [] for event in events)
    assert calm.problem is None
    assert watch.problem is not None
    message = "plugin 'watch' raised in compressbuild_event: ValueError: cannot cope; it will get no more events"
    assert [record.getMessage() for record in caplog.records] == [message]


# -- what is installed -----------------------------------------------------------------------------------------------


def count_scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    import importlib.metadata

    calls: list[int] = []
    real = importlib.metadata.distributions

    def counted(**arguments: object) -> object:
        calls.append(1)
        return real(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(importlib.metadata, "distributions", counted)
    return calls


def test_metadata_is_read_once_until_something_is_installed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "state" / "installed"
    site.install("good", GOOD)
    site.settle()
    scans = count_scans(monkeypatch)
    discover(cache=cache)
    once = len(scans)
    assert once > 0
    again = discover(cache=cache)
    assert len(scans) == once
    assert set(again.techniques) == {"good.scale"}
    assert tool_versions(["good-dist"], cache) == {"good-dist": "1.0"}
    assert len(scans) == once

    site.install("more", technique("more.x"), version="2.0")
    found = discover(cache=cache)
    assert len(scans) > once
    assert set(found.techniques) == {"good.scale", "more.x"}
    assert found.tool_versions(["More.Dist", "nope"]) == {"More.Dist": "2.0", "nope": None}
    assert found.module_versions(["more", "nope"]) == {"more": {"more-dist": "2.0"}, "nope": {}}
    # A distribution that ships the module which another one is named after stands for it: onnxruntime-gpu.
    assert found.tool_versions(["more", "good-dist"]) == {"more": None, "more-dist": "2.0", "good-dist": "1.0"}


def test_a_directory_that_changed_just_now_is_looked_at_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "installed"
    site.install("good", GOOD)
    scans = count_scans(monkeypatch)
    discover(cache=cache)
    first = len(scans)
    discover(cache=cache)
    assert len(scans) == 2 * first


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_cache_is_ignored_and_replaced(site: Site, tmp_path: Path, damage: bytes | None) -> None:
    cache = tmp_path / "installed"
    site.install("good", GOOD)
    site.settle()
    discover(cache=cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-3] + b"xyz" if damage is None else damage)
    assert set(discover(cache=cache).techniques) == {"good.scale"}
    assert cache.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir() if "installed" in p.name] == ["installed"]


def test_an_unwritable_cache_is_no_error(site: Site, tmp_path: Path) -> None:
    site.install("good", GOOD)
    (tmp_path / "file").write_text("")
    assert set(discover(cache=tmp_path / "file" / "installed").techniques) == {"good.scale"}


def test_another_search_path_is_another_answer(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "installed"
    site.install("good", GOOD)
    site.settle()
    discover(cache=cache)
    remembered = read(cache)
    assert remembered is not None
    assert remembered.installed.current()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "elsewhere")])
    assert not remembered.installed.current()


def test_the_fingerprint_tells_installing_and_editing_a_manifest(site: Site, tmp_path: Path) -> None:
    site.install("good", GOOD)
    site.settle()
    registry = discover()
    before = registry.fingerprint()
    assert {path for path, _ in before} == {str(site.root), str(site.root / "good.py")}
    assert discover().fingerprint() == before
    os.utime(site.root / "good.py", ns=(1, 1))
    assert registry.fingerprint() != before
    site.install("more", technique("more.x"))
    changed = dict(discover().fingerprint())
    assert changed[str(site.root)] != dict(before)[str(site.root)]


def test_the_same_distribution_twice_on_the_path_counts_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("good", GOOD, version="2.0")
    shadowed = Site(tmp_path / "later")
    shadowed.install("good", "raise RuntimeError", version="1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(shadowed.root)])
    registry = discover()
    assert [(p.name, p.version, p.problem) for p in registry.plugins] == [("good", "2.0", None)]
    assert registry.tool_versions(["good-dist"]) == {"good-dist": "2.0"}


# -- the whole -------------------------------------------------------------------------------------------------------


def test_discovery_imports_no_model_library(tmp_path: Path) -> None:
    """In a fresh process, with the first-party plugins."""
    script = (
        "import sys, pathlib\n"
        "from compressbuild.registry import discover\n"
        "registry = discover(cache=pathlib.Path(sys.argv[1]))\n"
        f"print(sorted(set(sys.modules) & {set(HEAVY)!r}))\n"
        "print(sorted(p.name for p in registry.plugins))\n"
    )
    for _ in range(2):  # with and without the cache
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "installed")], capture_output=True, text=True, check=True
        )
        heavy, names = done.stdout.splitlines()
        assert heavy == "[]"
        assert "'torch'" in names


@pytest.mark.parametrize(
    "record", [Technique, Backend, Kind, ArtifactMetric, AnswerMetric, RunMetric, Platform, Needs, Stack]
)
def test_every_field_of_every_record_is_checked(record: type) -> None:
    found = _annotations(record)
    assert set(found) == set(record.__struct_fields__)
    assert set(found.values()) <= set(_TYPES)


def test_python_without_docstrings_is_named_as_the_cause() -> None:
    def problems(**environ: str) -> str:
        words = [sys.executable, "-m", "compressbuild", "plugins"]
        return subprocess.run(words, env={**os.environ, **environ}, capture_output=True, text=True, check=False).stdout

    said = problems(PYTHONOPTIMIZE="2")
    assert "Python has removed the docstring of" in said
    assert "unset PYTHONOPTIMIZE" in said
    assert "has no docstring" not in said
    for level in ("0", "1"):
        assert "docstring" not in problems(PYTHONOPTIMIZE=level)
