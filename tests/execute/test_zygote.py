"""The warm parent: what it imports, once, and what happens when it cannot."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from execute_bench import Bench, alive, eventually

from compressbuild.execute.executor import Finished


def _preloaded(bench: Bench, code: str) -> None:
    """A module ``heavy_for_tests`` that the warm parent can find: on PYTHONPATH, as an installed library would be."""
    library = bench.tmp / "library"
    library.mkdir()
    (library / "heavy_for_tests.py").write_text(code)
    bench.executor._environment["PYTHONPATH"] = str(library)


def test_a_preloaded_module_is_imported_once(bench: Bench) -> None:
    counter = bench.tmp / "imports"
    _preloaded(bench, f"open({str(counter)!r}, 'a').write('x')\nVALUE = 1\n")
    facts = [bench.run("facts", preload=("heavy_for_tests",)).result.facts for _ in range(3)]
    assert counter.read_text() == "x"
    assert len({each["parent"] for each in facts}) == 1
    assert len({each["pid"] for each in facts}) == 3
    assert all("heavy_for_tests" in each["modules"] for each in facts)


def test_each_set_of_modules_has_its_own_parent(bench: Bench) -> None:
    bare = bench.run("facts").result.facts
    warm = bench.run("facts", preload=("colorsys",)).result.facts
    assert bare["parent"] != warm["parent"]
    assert "colorsys" in warm["modules"]
    assert "colorsys" not in bare["modules"]


def test_what_one_node_does_to_its_process_another_does_not_see(bench: Bench) -> None:
    (bench.project / "mine.py").write_text(
        "import os, sys\n\n\ndef run(ctx, params):\n"
        "    seen = hasattr(sys, 'mark'), 'MARK' in os.environ\n"
        "    sys.mark = os.environ['MARK'] = 'x'\n"
        "    return {'seen': seen}\n"
    )
    facts = [bench.run("mine:run", code_files=("mine.py",)).result.facts for _ in range(2)]
    assert facts == [{"seen": [False, False]}] * 2


def test_a_missing_preload_fails_its_nodes_with_the_cause(bench: Bench) -> None:
    tokens = [bench.start("nothing", preload=("no_such_library",)) for _ in range(2)]
    finished = [each for each in bench.collect(2) if isinstance(each, Finished)]
    tokens.append(bench.start("nothing", preload=("no_such_library",)))  # now it is known
    finished += [each for each in bench.collect(1) if isinstance(each, Finished)]
    assert [each.token for each in finished] == tokens
    for each in finished:
        assert each.cause == "unavailable"
        assert each.detail == (
            "cannot import 'no_such_library': ModuleNotFoundError: No module named 'no_such_library'"
        )
        assert each.result.hint == "the step's plugin needs it: install it in this environment"
        assert "no_such_library" in bench.log(each.token).read_text()
    assert bench.run("nothing").cause == "ok"


def test_a_preload_that_kills_its_process_is_reported(bench: Bench) -> None:
    _preloaded(bench, "import os\nos.write(2, b'something is wrong\\n')\nos.abort()\n")
    finished = bench.run("nothing", preload=("heavy_for_tests",))
    assert finished.cause == "unavailable"
    assert finished.detail == ("cannot import 'heavy_for_tests': killed by signal 6 (SIGABRT) (something is wrong)")


def test_a_preload_that_starts_threads_is_pointed_out(bench: Bench) -> None:
    _preloaded(bench, "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n")
    bench.run("nothing", preload=("heavy_for_tests",))
    assert bench.run("nothing", preload=("heavy_for_tests",)).cause == "ok"
    assert "has started threads" in bench.log(2).read_text()


@pytest.mark.parametrize("library", ["numpy", "pyarrow", "sklearn", "torch"])
def test_a_common_library_starts_no_thread(bench: Bench, library: str) -> None:
    """Their own pools of threads, and the one that cleans up after Arrow's allocator, are kept from starting."""
    pytest.importorskip(library)
    bench.run("nothing", preload=(library,))
    assert bench.run("nothing", preload=(library,)).cause == "ok"
    assert "has started threads" not in bench.log(2).read_text()


def test_prepare_warms_up_before_the_first_node(bench: Bench) -> None:
    counter = bench.tmp / "imports"
    _preloaded(bench, f"open({str(counter)!r}, 'a').write('x')\n")
    bench.executor.prepare(("heavy_for_tests",))
    assert eventually(counter.exists)
    assert bench.run("facts", preload=("heavy_for_tests",)).cause == "ok"
    assert counter.read_text() == "x"


def test_ctrl_c_does_not_reach_the_warm_parent(bench: Bench) -> None:
    parent = bench.run("facts").result.facts["parent"]
    ignored = next(
        line for line in Path(f"/proc/{parent}/status").read_text().splitlines() if line.startswith("SigIgn")
    )
    assert int(ignored.split()[1], 16) & (1 << (signal.SIGINT - 1))
    assert alive(parent)


def test_a_kill_by_the_kernel_is_told_from_any_other(bench: Bench) -> None:
    counter = bench.tmp / "counter"
    counter.write_text("oom_kill_disable 0\noom_kill 3\n")
    _preloaded(bench, f"from compressbuild.execute import procfs\nprocfs._counters[:] = [{str(counter)!r}]\n")
    preload = ("heavy_for_tests",)
    assert bench.run("killed", preload=preload).cause == "crashed"
    finished = bench.run("killed_for_memory", {"counter": str(counter)}, preload=preload)
    assert finished.cause == "memory"
    assert finished.detail.startswith("killed by the kernel: out of memory (it had used up to ")
