"""A node's action in sh, without a process besides the shell. ``actions/peers_action.py`` says the same in Python."""

from __future__ import annotations

from ..layered import COARSE, MODULUS, Layered, Node
from ..place import Place


def command(place: Place, graph: Layered, node: Node, *, keep_equal: bool = False) -> str:
    """``keep_equal``: do not touch an output that has the right content."""
    names = [f"v{i}" for i in range(len(node.reads))]
    total = str(node.salt)
    for name in names:
        value = f"{name}/{COARSE}" if node.coarse else name
        total = f"({total}*31+{value})%{MODULUS}"
    lines = ["set -e", *(f"read {name} < {path}" for name, path in zip(names, node.reads, strict=True))]
    lines.append(f"t=$(({total}))")
    if node == graph.held:
        hold = f"echo 1 > {node.output}; : > {place.held}; sleep 600"
        lines.append(f"if [ -e {place.hold(node)} ]; then {hold}; fi")
    write = f"echo $t > {node.output}"
    if keep_equal:
        lines.append(f"if [ -e {node.output} ]; then read o < {node.output}; else o=; fi")
        write = f'[ "$o" = $t ] || {write}'
    lines += [write, f"echo {node.name} >> {place.log}"]
    return "; ".join(lines)
