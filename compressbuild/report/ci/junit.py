"""A build as JUnit XML, which CI systems show: a case for each target."""

from __future__ import annotations

import re
import time
from xml.etree import ElementTree

from ...build.outcome import BuildReport, TargetReport
from ...graph import Graph
from ..text.table import with_ratio
from ..text.verdicts import gate_words, said
from .ended import Ended

__all__ = ["junit"]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML may hold, not even escaped."""


def junit(report: BuildReport, ended: Ended, graph: Graph, name: str) -> str:
    """``name``: of the project. A missed gate is a failure, a failed node an error; what was not built is skipped."""
    seconds = ended.seconds(graph, report)
    cases = [_case(target, seconds[target.name], report, ended, graph) for target in report.targets]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "time": f"{sum(seconds.values()):.3f}",
    }
    skipped = str(sum(case.find("skipped") is not None for case in cases))
    root = ElementTree.Element("testsuites", {"name": "cbuild", **counts})
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": _clean(name), **counts, "skipped": skipped, "timestamp": stamp}
    )
    suite.extend(cases)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _case(target: TargetReport, seconds: float, report: BuildReport, ended: Ended, graph: Graph) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": target.platform or "targets", "name": target.name, "time": f"{seconds:.3f}"}
    )
    if target.status == "gate failed":
        missed = [verdict for verdict in target.verdicts if not verdict.ok]
        lines = [
            f"{gate_words(v.metric, v.limit, v.bound, v.against)}: {v.verdict}, got {said(v)[0]}"
            + (f", off by {said(v)[1]}" if v.margin is not None else "")
            + (f" ({v.reason})" if v.reason else "")
            for v in missed
        ]
        _put(case, "failure", lines[0] if len(lines) == 1 else f"{len(lines)} gates missed", "gate", "\n".join(lines))
    elif target.status == "failed":
        found = ended.failed(graph, target.name)
        lines = [line for _, event in found for line in (event.error, event.hint, event.trace) if line]
        _put(case, "error", target.reason, found[0][1].cause if found else "failed", "\n".join(lines))
    elif target.status in ("skipped", "not built"):
        ElementTree.SubElement(case, "skipped", {"message": _clean(target.reason)})
    shown = [f"{name}: {with_ratio(found, report.units.get(name, ''))}" for name, found in target.metrics.items()]
    shown += [f"not measured: {name}: {why}" for name, why in target.unmeasured.items()]
    shown += [f"warning: {concern.message}" for concern in target.warnings]
    if shown:
        ElementTree.SubElement(case, "system-out").text = _clean("\n".join([target.status, *shown]))
    return case


def _put(case: ElementTree.Element, tag: str, message: str, kind: str, text: str) -> None:
    found = ElementTree.SubElement(case, tag, {"message": _clean(message), "type": kind})
    found.text = _clean(text)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
