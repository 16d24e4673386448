"""A profile as text and as a file."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from compressbuild.api import Operator, Profile
from compressbuild.report.page.profile import profile_page
from compressbuild.report.text.profile import lines

MADE = Profile(
    operators=(
        Operator(name="small", op="Relu", time_us=5.0),
        Operator(name="conv <1>", op="Conv", time_us=60.0),
        Operator(name="conv 2", op="Conv", time_us=20.0, calls=2),
    ),
    run_us=100.0,
    batch=8,
    describe={"runtime": "fake", "threads": 1},
)


def test_text() -> None:
    assert list(lines("net", MADE, 2)) == [
        "net: 0.1 ms a run under the profiler, batch 8",
        "runtime fake, threads 1",
        "",
        "type                 µs  share  calls",
        "Conv               80.0  80.0%      3",
        "outside operators  15.0  15.0%",
        "and 1 more, 5.0% ('-n 3' shows all)",
        "",
        "operator    µs  share  calls  type",
        "conv <1>  60.0  60.0%      1  Conv",
        "conv 2    20.0  20.0%      2  Conv",
        "and 1 more, 5.0% ('-n 3' shows all)",
    ]


def test_where_the_runtime_knows_types_alone_there_is_one_table() -> None:
    types = Profile(operators=(Operator(name="add", op="add", time_us=10.0),), run_us=10.0, batch=1)
    assert list(lines("net", types, 9)) == [
        "net: 0.01 ms a run under the profiler, batch 1",
        "",
        "type    µs   share  calls",
        "add   10.0  100.0%      1",
    ]


def test_an_empty_profile() -> None:
    assert list(lines("net", Profile(operators=(), run_us=0.0, batch=1), 9))[-1].startswith("type")
    assert "<svg" in profile_page("net", Profile(operators=(), run_us=0.0, batch=1))


def test_html() -> None:
    page = profile_page("a&b", MADE)
    assert "<title>a&amp;b: where the time goes · compressbuild</title>" in page
    assert "conv &lt;1&gt;" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "<script" not in page
    start = page.index("<svg")
    first = ElementTree.fromstring(page[start : page.index("</svg>") + 6])
    bars = [float(bar.get("width", "0")) for bar in first.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == [420.0, 78.8, 26.2]  # 80, 15 and 5 µs
