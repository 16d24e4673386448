"""What a build tells a CI system: JUnit XML, annotations at the Compressfile's lines, the summary of a job."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from command import Work
from quick import Quick

from compressbuild.build.outcome import BuildReport, TargetReport
from compressbuild.errors import Diagnostic, Mark
from compressbuild.execute.events import NodeFinished
from compressbuild.report.ci.ended import Ended
from compressbuild.report.ci.github import errors
from compressbuild.report.ci.junit import junit

TEXT = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: good}
targets:
  good: {from: f, steps: [{toy.mix: {salt: 1}}]}
  missed:
    from: f
    steps: [toy.copy]
    gates:
      length: {max: 2}
  doubtful:
    from: f
    steps: [{toy.copy: {fail: doubt, note: "looks | odd"}}]
  broken:
    from: f
    steps:
      - {toy.copy: {fail: raise}}
  after: {from: broken, steps: [toy.copy]}
  elsewhere: {from: f, steps: [far.copy]}
"""
# name → (attributes that must be there, children that may be)
SHAPE = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}, {"testcase"}),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


FAR = """\
from compressbuild.api import Needs, Technique, hookimpl


@hookimpl
def compressbuild_techniques():
    yield Technique(
        name="far.copy", run="toy:copy", consumes=("text",), produces="text", needs=Needs(system=("Plan9",))
    )
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quick:
    """A technique of another plugin needs a system that this is not."""
    made = Quick(tmp_path / "ci", toy=True)
    made.write("../site/farplugin.py", FAR)
    made.write("../site/far-1.0.dist-info/entry_points.txt", "[compressbuild]\nfar = farplugin\n")
    made.write("../site/far-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: far\nVersion: 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    made.write("f.txt", "abcd")
    made.write("Compressfile", TEXT)
    return made


def sound(element: ElementTree.Element) -> None:
    """As the schema of JUnit reports wants it: known elements, their attributes, counts that are true."""
    attributes, children = SHAPE[element.tag]
    assert set(element.attrib) == attributes, element.tag
    for child in element:
        assert child.tag in children
        sound(child)
    if "time" in attributes:
        assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
    if "tests" in attributes:
        cases = list(element.iter("testcase"))
        assert int(element.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            if name in attributes:
                assert int(element.attrib[name]) == sum(case.find(tag) is not None for case in cases)


def test_junit(work: Quick):
    ran = work("all", "-k", "--junit", "report.xml", code=1)
    assert "wrote report.xml" in ran.err
    root = ElementTree.parse(work.root / "report.xml").getroot()
    sound(root)
    cases = {case.attrib["name"]: case for case in root.iter("testcase")}
    assert list(cases) == ["good", "missed", "doubtful", "broken", "after", "elsewhere"]
    assert [child.tag for child in cases["good"]] == ["system-out"]
    assert "length: 1 B" in cases["good"].findtext("system-out", "")
    failure = cases["missed"].find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "gate", "message": "length: max 2: fail, got 4, off by 2"}
    error = cases["broken"].find("error")
    assert error is not None
    assert error.attrib["type"] == "raised"
    assert error.text is not None
    assert "asked to fail" in error.text
    assert cases["after"].find("error") is not None
    skipped = cases["elsewhere"].find("skipped")
    assert skipped is not None
    assert "Plan9" in skipped.attrib["message"]
    assert cases["elsewhere"].attrib["classname"] == "targets"


def test_text_that_no_xml_can_hold():
    target = TargetReport(name="a", status="skipped", reason="needs \x1b[31mred\x1b[0m \x00 & <more>\ufffe")
    report = BuildReport(targets=(target,), counts={}, exit_code=0)
    root = ElementTree.fromstring(junit(report, Ended(), SimpleNamespace(targets={}), "p\x01"))
    sound(root)
    (skipped,) = root.iter("skipped")
    assert skipped.attrib["message"] == "needs �[31mred�[0m � & <more>�"


def test_paths_with_signs_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b,c%").write_text("")
    (line,) = errors([Diagnostic("m\nn, 100 %", Mark("a:b,c%", 3, 2, 4))], {})
    assert line == "::error file=a%3Ab%2Cc%25,line=3,col=2,endColumn=6::m%0An, 100 %25"


def test_times_are_those_of_the_work(work: Quick):
    """In a process. A node that two targets need counts once, so the sum is the work that was done."""
    work.edit("Compressfile", "{fail: doubt,", "{seconds: 0.3, fail: doubt,")
    work.edit("Compressfile", "  missed:\n    from: f", "  missed:\n    from: doubtful")
    ran = Work(work.root, toy=True).json("doubtful", "missed", "--junit", "report.xml", code=3)
    done = [event for event in ran.events if isinstance(event, NodeFinished)]
    root = ElementTree.parse(work.root / "report.xml").getroot()
    times = {case.attrib["name"]: float(case.attrib["time"]) for case in root.iter("testcase")}
    assert max(times.values()) >= 0.3
    assert min(times.values()) < 0.3
    assert float(root.attrib["time"]) == pytest.approx(sum(event.seconds for event in done), abs=0.01)


def test_junit_is_read_by_a_library(work: Quick):
    library = pytest.importorskip("junitparser")
    work("all", "-k", "--junit", "report.xml", code=1)
    found = library.JUnitXml.fromfile(str(work.root / "report.xml"))
    assert (found.tests, found.failures, found.errors) == (6, 1, 2)
    (suite,) = list(found)
    assert suite.skipped == 1
    assert [type(case.result[0]).__name__ for case in suite if case.result] == ["Failure", "Error", "Error", "Skipped"]


def test_junit_of_a_build_that_does_nothing(work: Quick):
    """It is written each time: no command that writes one is answered by the no-op."""
    for _ in range(3):
        work("good", "--junit", "report.xml")
        root = ElementTree.parse(work.root / "report.xml").getroot()
        sound(root)
        (work.root / "report.xml").unlink()
    assert root.attrib["time"] == "0.000"
    assert "leave one out" in work("good", "-n", "--junit", "report.xml", code=2).err
    assert "cannot write nowhere/report.xml" in work("good", "--junit", "nowhere/report.xml", code=2).err


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """The workflow commands in a text, decoded as GitHub's runner decodes them."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
        if match is not None:
            properties = dict(each.split("=", 1) for each in match[2].split(",")) if match[2] else {}
            found.append((match[1], properties, match[3].replace("%0A", "\n").replace("%25", "%")))
    return found


def test_annotations_and_the_summary(work: Quick):
    env = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(work.root.parent),
        "GITHUB_STEP_SUMMARY": str(work.root.parent / "summary.md"),
    }
    work.root.parent.joinpath("summary.md").write_text("before\n")
    said = commands(work("all", "-k", code=1, **env).err)
    assert [(kind, place["file"], place["line"]) for kind, place, _ in said] == [
        ("error", "ci/Compressfile", "10"),
        ("error", "ci/Compressfile", "17"),
        ("warning", "ci/Compressfile", "11"),
    ]
    lines = TEXT.splitlines()
    marked = [
        lines[int(place["line"]) - 1][int(place["col"]) - 1 : int(place["endColumn"]) - 1] for _, place, _ in said
    ]
    assert marked == ["length", "toy.copy", "doubtful"]
    assert said[0][2] == "missed: length: max 2: fail, got 4"
    assert said[1][2].startswith("broken/toy.copy raised: asked to fail")
    summary = (work.root.parent / "summary.md").read_text()
    assert summary.startswith("before\n### cbuild: ci\n")
    assert "| good | – |" in summary
    assert "- ❌ **missed**: length: max 2: fail, got 4\n" in summary
    assert "- ⚠️ **doubtful**: " in summary
    assert "looks \\| odd" in summary
    assert "- skipped **elsewhere**: " in summary
    rows = [line for line in summary.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    work("good", **env)
    work("good", **env)
    assert (work.root.parent / "summary.md").read_text().count("### cbuild: ci") == 3


def test_errors_of_the_file_are_annotated(work: Quick):
    work.edit("Compressfile", "  good: {from: f, steps", "  good: {form: f, steps")
    (first, *_) = commands(work("all", code=2, GITHUB_ACTIONS="true").err)
    assert first[:2] == ("error", {"file": "Compressfile", "line": "5", "col": "10", "endColumn": "14"})
    assert first[2] == "unknown key 'form' in target 'good'\nhint: did you mean 'from'?"
    work.edit("Compressfile", "{form: f,", "{from: f,")
    (found,) = commands(work("al%l", code=2, GITHUB_ACTIONS="true").err)
    assert found[:2] == ("error", {})
    assert found[2].startswith("unknown target 'al%l'")
    (found,) = commands(work("all", "--set", "targets.good.form=x", code=2, GITHUB_ACTIONS="true").err)
    assert "file" not in found[1]
    assert "--set targets.good.form" in found[2]


def test_elsewhere_nothing_of_it_is_printed(work: Quick):
    ran = work("all", "-k", code=1, GITHUB_STEP_SUMMARY=str(work.root / "summary.md"))
    assert "::" not in ran.text
    assert not (work.root / "summary.md").exists()
