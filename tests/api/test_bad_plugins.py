"""The conformance kit finds each fault of a plugin made of faults, and says which one it is."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from installed import install, python

HERE = Path(__file__).parent / "bad_plugin"
BYTES, READS, OUTPUT = "two_runs_give_the_same_bytes", "it_reads_what_its_key_covers", "output_is_an_artifact"
WRITES, RUNS, REFUSES = "it_writes_into_its_output_alone", "it_runs", "it_refuses_what_it_cannot_take"
RUNNER, DAMAGE = "its_runner_keeps_the_protocol", "damage_is_noticed"
COUNTS = "it_counts_itself"
MEASURES, CANNOT = "it_gives_a_number", "it_refuses_what_it_cannot_measure"

# class → the contract's test that names the fault, and how.
FAULTS = {
    "heavy_manifest": ("manifest_is_cheap", "the manifest imports safetensors, yaml"),
    "heavy_silent": ("defaults_are_constant", "Silent has no docstring"),
    "heavy_lost": ("functions_are_there", "nowhere"),
    "clock": (BYTES, "gave different bytes, in processes with another hash seed, time zone, clock"),
    "date": (BYTES, "different bytes, in processes"),
    "hashing": (BYTES, "sort what comes out of sets"),
    "identity": (BYTES, "different bytes, in processes"),
    "randomness": (BYTES, "take randomness from ctx.seed"),
    "path": (BYTES, "the file holds the path"),
    "mutable_default": (BYTES, "argument 'seen' has a mutable default"),
    "remembers": (BYTES, "a second call in the same process gave different bytes"),
    "undeclared": (READS, "notes.txt, which is neither an input nor declared"),
    "outside": (READS, "/etc/passwd, which is neither an input"),
    "own_data": (READS, "table.txt, a data file of its own package"),
    "environment": (READS, "environment variable CBUILD_BAD_FACTOR"),
    "connects": (READS, "it connects to 127.0.0.1"),
    "computed_import": (READS, "helper.py by a computed name"),
    "pickled": (OUTPUT, "holds a pickle, state.bin"),
    "pickled_arrays": (OUTPUT, "holds a pickle, state.npz (state.npy)"),
    "link": (OUTPUT, "is a symbolic link"),
    "fifo": (OUTPUT, "is a special file"),
    "bad_name": (OUTPUT, "whose name is not UTF-8"),
    "hard_link": (OUTPUT, "is a hard link"),
    "empty": (RUNS, "value.txt"),
    "no_required_file": (RUNS, "value.txt"),
    "writes_outside": (WRITES, "more.txt, outside of ctx.out"),
    "writes_project": (WRITES, "log.txt, outside of ctx.out"),
    "spoils_input": (WRITES, "it changes its input subject/value.txt"),
    "thread": (WRITES, "a thread running (left-over)"),
    "clamped": ("each_parameter_joins_the_key", "'factor' does not join the key"),
    "loose": ("bad_parameters_are_refused", "'factor' takes any number"),
    "moving": ("defaults_are_constant", "differs from call to call"),
    "not_a_dict": (RUNS, "returned a list"),
    "nan_fact": (RUNS, "not finite: loss = nan"),
    "huge_fact": (RUNS, "bytes of facts"),
    "crashes": (RUNS, "crashed"),
    "exits": (RUNS, "it failed"),
    "traceback": (REFUSES, "raises KeyError with a traceback"),
    "many_lines": (REFUSES, "has 3 lines"),
    "accepts_all": (REFUSES, "it accepts the subject"),
    "m_nan": (MEASURES, "not finite: value = nan"),
    "m_infinite": (MEASURES, "not finite: value = inf"),
    "m_missing": (MEASURES, "returned no 'value'"),
    "m_text": (MEASURES, "'value' is '3', which is not a number"),
    "m_flag": (MEASURES, "'value' is True, which is not a number"),
    "m_random": ("two_runs_agree", "other values of 'value'"),
    "m_traceback": (CANNOT, "raises ZeroDivisionError with a traceback"),
    "m_rows": ("its_rows_can_be_read", "returned 0.5 for 'cat' of 'per_class', not a dict"),
    "m_rowless": ("its_rows_can_be_read", "says per_class=True; it returned no 'per_class'"),
    "c_type": (COUNTS, "its census is a dict, not a compressbuild.api.Census"),
    "c_weights": (COUNTS, "yields a str, not a compressbuild.api.Weight"),
    "c_twice": (COUNTS, "two weights of its census have one name: w, w"),
    "c_macs": (COUNTS, "gives a int: build it with Macs.of_run"),
    "c_traffic": (COUNTS, "traffic(axes, 2) of its census gives 2.5, not an int of bytes"),
    "r_any_feeds": (RUNNER, "takes no array for input 'x'"),
    "r_mute": (RUNNER, "must have describe()"),
    "r_reuses": (RUNNER, "overwrites what it returned"),
    "r_no_inputs": (RUNNER, "'inputs' of its Runner must be a tuple of"),
    "r_unnamed_axis": (RUNNER, "a dynamic axis needs a name"),
    "r_changes_feeds": (RUNNER, "changes the arrays that it is fed"),
    "r_drifts": (RUNNER, "other values for the same arrays"),
    "r_lists": (RUNNER, "is a list, not a numpy array"),
    "r_pairs": (RUNNER, "'inputs' of its Runner must be a tuple of compressbuild.api.ModelInput"),
    "r_same_names": (RUNNER, "two inputs of its Runner have one name: x, x"),
    "b_blind": (DAMAGE, "notices 'value.txt' emptied"),
    "blind": (DAMAGE, "notices 'value.txt' emptied"),
    "renamed": ("a_file_of_a_user_is_one", "net.bad keeps its name, which its kind's files 'value.txt' does not match"),
    "mute": (DAMAGE, "nothing notices a damaged artifact"),
}
GOOD = ("good", "m_good", "r_good", "b_good", "c_good")


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """(class, test) → what it failed with; empty for a test that passed or was skipped."""
    place = tmp_path_factory.mktemp("bad")
    shutil.copytree(HERE, place, dirs_exist_ok=True)
    (place / "notes.txt").write_text("0.5")
    for name in ("bad", "heavy"):
        install(place, f"cbuild-{name}", "1", {name: f"cbuild_{name}.manifest"})
    wanted = [f"contract_of_bad.py::Test_{name}::test_{test}" for name, (test, _) in FAULTS.items()]
    wanted += [f"contract_of_bad.py::Test_{name}" for name in GOOD]
    done = python(place, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=out.xml", "-q", *wanted)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr
    found = {}
    for case in ElementTree.parse(place / "out.xml").iter("testcase"):
        failed = [child for child in case if child.tag in ("failure", "error")]
        key = case.attrib["classname"].rpartition("Test_")[2], case.attrib["name"].removeprefix("test_")
        found[key] = failed[0].attrib["message"] + (failed[0].text or "") if failed else ""
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_named(name: str, messages: dict[tuple[str, str], str]) -> None:
    test, phrase = FAULTS[name]
    assert phrase in messages[name, test]


@pytest.mark.parametrize("name", GOOD)
def test_the_good_ones_pass(name: str, messages: dict[tuple[str, str], str]) -> None:
    found = {test: message for (owner, test), message in messages.items() if owner == name}
    assert len(found) >= 7
    assert not any(found.values()), found


def test_no_bad_technique_is_left_out(messages: dict[tuple[str, str], str]) -> None:
    manifest = (HERE / "cbuild_bad" / "manifest.py").read_text()
    for constant in ("TECHNIQUES", "METRICS", "RUNNERS", "BACKENDS"):
        words = (
            manifest.split(f"{constant} = ")[1]
            .split('"' * (3 if constant in ("TECHNIQUES", "RUNNERS") else 1))[1]
            .split()
        )
        assert set(words) <= {*FAULTS, *GOOD}
