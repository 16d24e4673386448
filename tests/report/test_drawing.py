"""Pictures of the DAG: what is on them, and that nothing covers anything."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from toyproject import Toy

from compressbuild.report.picture.drawing import Box, Edge, Picture, dot, fitted, make, mermaid, svg
from compressbuild.report.picture.layout import place

SVG = "{http://www.w3.org/2000/svg}"
FILE = """\
version: 1
models: {m: {file: f.txt}}
targets:
  base: {from: m, steps: [toy.copy: {}]}
  left: {from: base, steps: [toy.mix: {salt: 1, others: [base]}]}
  right: {from: base, steps: [toy.mix: {salt: 2, modulus: 5}, toy.mix: {others: [m]}]}
"""


@pytest.fixture
def picture(toy: Toy) -> Picture:
    toy.write("Compressfile", FILE)
    project = toy.open()
    return make(project.plan(project.select(["all"]).names), with_metrics=False)


def boxes(picture: Picture) -> dict[str, Box]:
    return {box.name: box for box in picture.boxes}


def test_it_has_a_box_for_each_node_and_each_target(picture: Picture) -> None:
    assert sorted((b.title, b.role) for b in picture.boxes) == [
        ("base", "target"),
        ("left", "target"),
        ("m", "source"),
        ("right", "target"),
        ("toy.copy", "technique"),
        ("toy.mix", "technique"),
        ("toy.mix", "technique"),
        ("toy.mix#2", "technique"),
    ]


def test_a_box_shows_what_tells_it_from_others(picture: Picture) -> None:
    """Parameters that are not at their default, or differ between nodes of one technique."""
    below = {b.title + b.more.split("\n")[0]: b.below for b in picture.boxes}
    assert below["toy.mixleft/toy.mix"] == "salt 1, modulus 7"
    assert below["toy.mixright/toy.mix"] == "salt 2, modulus 5"
    assert below["toy.mix#2right/toy.mix#2"] == "salt 0, modulus 7"
    assert below["toy.copybase/toy.copy"] == "text"


def test_boxes_are_cut_where_they_agree(toy: Toy) -> None:
    long = "all of the images of the first folder of the year, number"
    toy.write(
        "Compressfile",
        "version: 1\nmodels: {m: {file: f.txt}}\ntargets:\n"
        + "".join(f"  t{n}: {{from: m, steps: [toy.copy: {{seconds: 0.5, note: '{long} {n}'}}]}}\n" for n in (1, 2)),
    )
    project = toy.open()
    made = make(project.plan(project.select(["all"]).names), with_metrics=False)
    below = [box.below for box in made.boxes if box.title == "toy.copy"]
    assert below == ["…e year, number 1, seconds 0.5", "…e year, number 2, seconds 0.5"]


def test_what_differs_is_never_cut_away() -> None:
    for seed in range(500):
        dice = random.Random(seed)
        texts = {"".join(dice.choices("ab", k=dice.randint(0, 90))) for _ in range(dice.randint(1, 12))}
        found = fitted(texts, 30)
        assert found.keys() == texts
        assert len(set(found.values())) == len(texts), f"seed {seed}"
        assert max(map(len, found.values())) <= 30, f"seed {seed}"
    many = [f"{'x' * 100}{number:08b}" + "y" * 100 for number in range(256)]
    assert len(set(fitted(many, 30).values())) == 256


def test_edges_lead_from_inputs_and_say_what_other_inputs_are(picture: Picture) -> None:
    names = boxes(picture)
    edges = [(names[e.start].title, names[e.end].title, e.label) for e in picture.edges]
    assert ("m", "toy.copy", "") in edges
    assert ("toy.copy", "toy.mix", "others") in edges  # one edge, though it is the subject too
    assert ("m", "toy.mix#2", "others") in edges
    assert ("toy.mix#2", "right", "") in edges
    assert len(edges) == len({(e.start, e.end) for e in picture.edges})


def test_what_is_cached_is_told_from_what_is_not(toy: Toy) -> None:
    toy.write("Compressfile", FILE)
    toy.build("left")
    project = toy.open()
    picture = make(project.plan(project.select(["all"]).names), with_metrics=False)
    assert {b.title for b in picture.boxes if not b.cached} == {"toy.mix", "toy.mix#2", "right"}
    drawn = svg(picture)
    assert drawn.count('stroke-dasharray="5 3"') == 3 + 1  # and the legend
    assert mermaid(picture).splitlines()[-1].endswith(" undone")


def test_the_svg_is_well_formed_and_says_it_all(picture: Picture) -> None:
    root = ElementTree.fromstring(svg(picture))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for box in picture.boxes:
        assert box.title in texts
    tooltips = [element.text or "" for element in root.iter(f"{SVG}title")]
    assert any("salt: 2" in text and "modulus: 5" in text for text in tooltips)


def test_markup_in_a_name_is_escaped() -> None:
    odd = Picture(
        (Box("n0", "<a&b>", 'say "x"', "technique", True, "</title>"), Box("t0", "t", "", "target", True)), ()
    )
    ElementTree.fromstring(svg(odd))
    assert "&lt;a&amp;b&gt;" in mermaid(odd)
    assert r"say \"x\"" in dot(odd)


def test_nothing_lies_on_anything_else(toy: Toy) -> None:
    toy.write("Compressfile", FILE)
    project = toy.open()
    picture = make(project.plan(project.select(["all"]).names), with_metrics=True)
    root = ElementTree.fromstring(svg(picture))
    rects = [group.find(f"{SVG}rect") for group in root.iter(f"{SVG}g")]
    areas = [{k: float(r.attrib[k]) for k in ("x", "y", "width", "height")} for r in rects if r is not None]
    assert len(areas) == len(picture.boxes)
    for a, b in combinations(areas, 2):
        apart = (
            a["x"] + a["width"] <= b["x"]
            or b["x"] + b["width"] <= a["x"]
            or a["y"] + a["height"] <= b["y"]
            or b["y"] + b["height"] <= a["y"]
        )
        assert apart, (a, b)


def test_a_long_edge_keeps_clear_of_the_boxes_it_passes() -> None:
    names = "abcde"
    chain = list(pairwise(names))
    placed = place(dict.fromkeys(names, (60.0, 40.0)), [*chain, ("a", "e")])
    route = placed.routes["a", "e"]
    assert len(route) == 2 + 2 * 3
    for name in "bcd":
        box = placed.boxes[name]
        for x, y in route[1:-1]:
            if box.x <= x <= box.x + box.width:
                assert not box.y <= y <= box.y + box.height
    assert [x for x, _ in route] == sorted(x for x, _ in route)


def test_unconnected_parts_stand_below_each_other() -> None:
    placed = place({"a": (50.0, 40.0), "b": (50.0, 40.0), "c": (50.0, 40.0)}, [("a", "b")])
    assert placed.boxes["c"].y >= placed.boxes["a"].y + 40
    assert place({}, []).width > 0


def test_an_empty_picture_is_a_picture() -> None:
    ElementTree.fromstring(svg(Picture((), ())))
    assert mermaid(Picture((), ())) == "flowchart LR"


def test_equal_graphs_are_drawn_alike_in_every_process(tmp_path: Path) -> None:
    script = (
        "from compressbuild.report.picture.drawing import Box, Edge, Picture, svg\n"
        "names = [f'n{i}' for i in range(12)]\n"
        "boxes = tuple(Box(n, n, '', 'technique', True) for n in names)\n"
        "edges = tuple(Edge(names[i], names[j]) for i in range(12) for j in range(i + 1, 12) if (i * j) % 5 == 1)\n"
        "print(svg(Picture(boxes, edges)))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in "123"
    }
    assert len(seen) == 1
    assert re.search(r"<svg", seen.pop())


def test_dot_and_mermaid_have_every_box_and_edge() -> None:
    picture = Picture(
        (Box("n0", "a", "k", "source", True), Box("n1", "b", "", "technique", False)), (Edge("n0", "n1", "teacher"),)
    )
    assert 'n0 -> n1 [label="teacher"];' in dot(picture)
    assert 'n0 [label="a\\nk"' in dot(picture)
    assert "n0 -->|teacher| n1" in mermaid(picture)
    assert 'n0["a<br/><i>k</i>"]' in mermaid(picture)
