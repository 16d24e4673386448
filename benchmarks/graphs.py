"""The same graph of trivial nodes as a Compressfile and as a ninja file."""

from __future__ import annotations

from pathlib import Path


def parents(number: int, nodes: int) -> list[int]:
    """Three layers: a root, √nodes in the middle, the rest below two of those each."""
    middle = round(nodes**0.5)
    if number == 0:
        return []
    return [0] if number <= middle else [1 + number % middle, 1 + (number * 7 + 3) % middle]


def compressfile(root: Path, nodes: int) -> None:
    """``nodes`` targets of one toy step each."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "f.txt").write_text("abc")
    lines = ["version: 1", "models: {f: {file: f.txt}}", "targets:"]
    for number in range(nodes):
        above = [f"t{i}" for i in parents(number, nodes)]
        source = above[0] if above else "f"
        others = f", others: [{', '.join(above[1:])}]" if above[1:] else ""
        lines.append(
            f"  t{number}: {{from: {source}, steps: [{{toy.mix: {{salt: {number}, modulus: 1000003{others}}}}}]}}"
        )
    (root / "Compressfile").write_text("\n".join(lines) + "\n")


def chain(root: Path, nodes: int) -> None:
    """One target of many steps."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "f.txt").write_text("abc")
    steps = ", ".join(f"{{toy.mix: {{salt: {number}, modulus: 1000003}}}}" for number in range(nodes))
    (root / "Compressfile").write_text(
        f"version: 1\nmodels: {{f: {{file: f.txt}}}}\ntargets:\n  t: {{from: f, steps: [{steps}]}}\n"
    )


def matrix(root: Path, targets: int) -> None:
    """``targets`` targets from one ``matrix``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "f.txt").write_text("abc")
    side = round(targets**0.5)
    axis = ", ".join(map(str, range(side)))
    (root / "Compressfile").write_text(
        "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n  t-${a}-${b}:\n"
        f"    matrix: {{a: [{axis}], b: [{axis}]}}\n"
        '    from: f\n    steps: [{toy.mix: {salt: "${a}"}}, {toy.copy: {note: "n${a}-${b}"}}]\n'
    )


def ninja(root: Path, nodes: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "f.txt").write_text("abc")
    lines = ["rule make", "  command = touch $out"]
    for number in range(nodes):
        above = " ".join(f"out/t{i}" for i in parents(number, nodes)) or "f.txt"
        lines.append(f"build out/t{number}: make {above}")
    (root / "build.ninja").write_text("\n".join(lines) + "\n")
