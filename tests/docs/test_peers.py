"""The benchmark beside other build systems: what it counts, and that it sees what is wrong."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, tables

sys.path.append(str(ROOT))

import benchmarks.peers.__main__ as main
from benchmarks.compare import exponent
from benchmarks.peers.bench import measured
from benchmarks.peers.layered import Layered
from benchmarks.peers.place import Place, places
from benchmarks.peers.plot import svg
from benchmarks.peers.process import Process, descendants
from benchmarks.peers.results import Cell, Results, load, save
from benchmarks.peers.table import page
from benchmarks.peers.tools import TOOLS, Tool
from benchmarks.peers.tools.ours import Compressbuild
from benchmarks.peers.tools.system import Make, Ninja
from benchmarks.peers.tools.tool import run
from benchmarks.peers.trial import SCENARIOS, Trial, expected

QUIET = {"limit": 60.0, "rounds": 1, "again": 60.0, "scratch": None, "say": lambda line: None}


@pytest.fixture
def place() -> Iterator[Place]:
    with places(None) as (roots, notes):
        yield Place(roots / "tool", notes / "tool")


def present(*kinds: type[Tool]) -> list[Tool]:
    found = [kind(None, 2) for kind in kinds]
    if missing := [tool.name for tool in found if tool.program is None]:
        pytest.skip(f"without {', '.join(missing)}")
    return found


def ran(results: Results, tool: str) -> dict[str, list[int]]:
    return {scenario: cell.ran for scenario, cell in results.cells[10][tool].items()}


def test_the_graph_is_layered_and_reads_what_it_should() -> None:
    for size in (4, 10, 100, 1000):
        graph = Layered.of(size)
        names = [node.name for node in graph.nodes]
        assert len(set(names)) == len(names) == size
        assert all(names.index(parent) < names.index(node.name) for node in graph.nodes for parent in node.parents)
        assert [node.file for node in graph.nodes if node.file] == ["source.txt", "leaf.txt"]
        assert len(graph.below("n0")) == size
        assert graph.tuned.name in graph.nodes[-1].parents
    small = Layered.of(4)
    assert [node.parents for node in small.nodes] == [(), ("n0",), ("n0",), ("n1", "n2")]
    assert small.values({"source.txt": 127, "leaf.txt": 5}) == {
        "n0": 12,
        "n1": 1 * 31 + 12,
        "n2": 2 * 31 + 12,
        "n3": ((3 * 31 + 43) * 31 + 74) * 31 + 5,
    }


def test_ninja_and_make_are_measured_in_all_builds() -> None:
    results = measured(present(Ninja, Make), [10], **QUIET)
    below = expected(Layered.of(10), 2)["changed"]
    assert below > 1
    assert ran(results, "ninja") == {
        "cold": [10], "noop": [0], "touched": [1], "leaf": [1], "cutoff": [1], "changed": [below], "back": [below],
        "killed": results.cells[10]["ninja"]["killed"].ran,
    }  # fmt: skip
    assert {name: cell.wrong for name, cell in results.cells[10]["ninja"].items()} == dict.fromkeys(SCENARIOS, 0)
    killed = results.cells[10]["ninja"]["killed"]
    assert killed.finished is not None
    assert killed.twice is not None
    assert killed.twice <= 1, "what ran beside the held action may just have ended"
    assert killed.finished > 1
    assert killed.ran == [10 - killed.finished + killed.twice]
    make = results.cells[10]["make"]
    assert ran(results, "make")["touched"] == ran(results, "make")["cutoff"] == [10]
    assert make["changed"].wrong == below, "make does not see a changed parameter"
    assert make["killed"].wrong > 0, "make takes a half-written file as finished"


def test_cbuild_runs_what_has_to_run(place: Place) -> None:
    trial = Trial(present(Compressbuild)[0], place, Layered.of(10), 60)
    for scenario in ("cold", "noop", "leaf", "cutoff"):
        cell = trial.measure(scenario, 0)
        assert (cell.ran, cell.wrong, cell.failure) == ([expected(trial.graph, 2)[scenario]], 0, ""), scenario
        assert cell.seconds[0] > 0


@pytest.mark.slow
def test_cbuild_in_all_builds() -> None:
    results = measured(present(Compressbuild), [10], **QUIET)
    cells = results.cells[10]["cbuild"]
    least = expected(Layered.of(10), 2)
    assert {name: (cell.wrong, cell.failure, cell.over) for name, cell in cells.items()} == dict.fromkeys(
        SCENARIOS, (0, "", False)
    )
    assert cells["killed"].twice <= 1
    assert {name: cell.ran for name, cell in cells.items() if name != "killed"} == {
        name: [count] for name, count in least.items() if name != "killed"
    }


class Lying(Make):
    """Writes the description of another graph."""

    def write(self, place: Place, graph: Layered) -> None:
        super().write(place, graph.salted("n7", 77))


class Eager(Make):
    """Runs its second action twice."""

    def write(self, place: Place, graph: Layered) -> None:
        super().write(place, graph)
        path = place.project / "Makefile"
        path.write_text(re.sub(r"(\t@)(.*echo n1 >>.*)", r"\1(\2) && (\2)", path.read_text()))


class Slow(Make):
    """Its build starts another process and does not end."""

    def words(self) -> list[str]:
        return ["/bin/sh", "-c", f"setsid sleep 60 & echo $$ $! > {self.pids}; sleep 60"]


class Failing(Make):
    def words(self) -> list[str]:
        return ["/bin/sh", "-c", "echo it cannot be; exit 3"]


def test_a_wrong_result_is_seen(place: Place) -> None:
    trial = Trial(Lying(None, 2), place, Layered.of(10), 60)
    present(Make)
    assert trial.measure("cold", 0).wrong == len(Layered.of(10).below("n7"))
    assert "n7" in trial.wrong()


def test_a_missing_and_a_damaged_output_are_seen(place: Place) -> None:
    trial = Trial(present(Make)[0], place, Layered.of(10), 60)
    assert trial.measure("cold", 0).wrong == 0
    (place.project / "out" / "n3").write_text("half")
    (place.project / "out" / "n4").unlink()
    assert trial.wrong() == ["n3", "n4"]


def test_an_action_that_runs_twice_is_counted_twice(place: Place) -> None:
    present(Make)
    assert Trial(Eager(None, 2), place, Layered.of(10), 60).measure("cold", 0).ran == [11]


def test_a_build_beyond_the_limit_is_stopped_with_all_it_started(place: Place, tmp_path: Path) -> None:
    tool = Slow(None, 2)
    tool.pids = tmp_path / "pids"
    trial = Trial(tool, place, Layered.of(10), 0.5)
    assert trial.measure("cold", 0).over
    assert trial.stopped
    shell, other = map(int, tool.pids.read_text().split())
    assert descendants(shell) == descendants(other) == []


def test_a_build_that_fails_says_why(place: Place) -> None:
    trial = Trial(Failing(None, 2), place, Layered.of(10), 60)
    assert trial.measure("cold", 0).failure == "exit 3: it cannot be"
    assert trial.stopped


def test_a_tool_beyond_the_limit_is_not_built_at_larger_sizes() -> None:
    class Sleeping(Make):
        def words(self) -> list[str]:
            return ["/bin/sh", "-c", "sleep 60"]

    results = measured([Sleeping(None, 2)], [10, 20], **QUIET | {"limit": 0.3})
    assert all(results.cells[size]["make"]["cold"].over for size in (10, 20))
    assert "> 0.3" in page(results)


def test_an_absent_tool_is_named_and_left_out() -> None:
    doit = next(kind for kind in TOOLS if kind.name == "doit")
    results = measured([*present(Make), doit(None, 2)], [10], **QUIET)
    assert results.present == ["make"]
    assert "- doit: not measured, not in --venvs: run with --install" in page(results)


def test_the_processor_time_is_that_of_all_processes(place: Place) -> None:
    place.clear()
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    ended = Process(["sh", "-c", f"{sys.executable} -c '{spin}'; {sys.executable} -c '{spin}'"], place).wait(60)
    assert ended.status == 0
    assert ended.cpu >= 0.4


def test_a_build_that_takes_too_long_is_ended_with_what_it_started(place: Place) -> None:
    place.clear()
    process = Process(["sh", "-c", "sleep 100 & echo $!; wait"], place)
    assert process.wait(1).status is None
    sleeper = int(process.output.read_text())
    assert sleeper not in descendants(sleeper)


def test_nothing_is_begun_after_the_time_is_over() -> None:
    results = measured(present(Make), [10], within=0.0, **QUIET)
    assert not results.cells
    assert "- make 4" in page(results)


def test_table_plot_and_file_agree_with_what_was_measured(tmp_path: Path) -> None:
    results = measured(present(Make), [10, 30], **QUIET)
    save(results, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == results
    first, used, second, _, actions, growth = tables(page(results))
    assert used[1][1].startswith(f"{results.cells[10]['make']['cold'].cpu[0]:.3g}<br>×")
    cold = results.cells[10]["make"]["cold"]
    assert first[1][1].startswith(f"{cold.median:.3g}<br>×{cold.median / results.bare[10]:.3g}")
    assert "**wrong**" in second[1][6]
    assert actions[1][1:4] == ["10", "0", "**10**"]
    both = {size: results.cells[size]["make"]["cold"].median for size in (10, 30)}
    assert growth[1][1] == f"{exponent(both):.2f}"
    drawn = ElementTree.fromstring(svg(results))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 3


def test_the_page_names_every_tool_and_takes_new_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    _, _, measurements = text.partition("<!-- benchmarks/peers -->\n")
    assert all(f"\n- {kind.name} " in measurements or f"\n- {kind.name}: not" in measurements for kind in TOOLS)
    monkeypatch.setattr(main, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(main, "PLOT", tmp_path / "plot.svg")
    main.PAGE.write_text(text)
    results = measured(present(Make), [10], **QUIET)
    main.write(results)
    before, _, after = main.PAGE.read_text().partition("<!-- benchmarks/peers -->\n")
    assert text.startswith(before)
    assert after == page(results) + "<!-- end -->\n"
    assert main.PLOT.read_text() == svg(results)


def test_the_exponent_is_that_of_the_curve() -> None:
    assert exponent({10: 1.0, 100: 10.0, 1000: 100.0}) == pytest.approx(1)
    assert exponent({10: 2.0, 100: 200.0, 1000: 20_000.0}) == pytest.approx(2)
    assert exponent({10: 3.0, 1000: 3.0}) == pytest.approx(0)
    assert exponent({10: 5.0, 100: 105.0, 1000: 10_005.0}, floor=5.0) == pytest.approx(2)
    assert exponent({10: 5.0, 100: 6.0, 1000: 105.0}, floor=5.0) is None


def test_where_a_first_build_takes_too_long_the_others_are_measured_all_the_same(place: Place) -> None:
    class Filled(Make):
        def fill(self, place: Place) -> bool:
            run(place, self.words())
            return True

    trial = Trial(Filled(None, 2), place, Layered.of(10), 60, frozenset({"cold"}))
    assert trial.measure("cold", 0) == Cell(over=True)
    assert trial.measure("noop", 0).ran == [0]
    assert not trial.can("killed")
