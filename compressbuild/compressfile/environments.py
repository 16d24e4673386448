"""``environments``: other locks, and other versions of Python, for the environments that plugins declare."""

from __future__ import annotations

from ..words import PYTHON_FORM, PYTHONS
from .checks import Checks
from .nodes import Node, Scalar
from .paths import Paths
from .spec import EnvironmentSpec

__all__ = ["ENVIRONMENT_KEYS", "environments"]

ENVIRONMENT_KEYS = ("requirements", "python")
_FORM = "write {requirements: locks/tool.txt, python: '>=3.11'}; each may be left out"


def environments(node: Node | None, checks: Checks, paths: Paths) -> dict[str, EnvironmentSpec]:
    """Name → what is written. That a plugin declares it is for the graph to see."""
    found = None if node is None else checks.mapping(node, "'environments'")
    result: dict[str, EnvironmentSpec] = {}
    for key, value in found.entries if found is not None else ():
        name = checks.name(key, "environment")
        given = checks.mapping(value, f"environment '{key.value}'", ENVIRONMENT_KEYS, _FORM)
        if name is None or given is None:
            continue
        lock, python = given.get("requirements"), given.get("python")
        result[name] = EnvironmentSpec(
            key.mark,
            paths.one(lock, f"'requirements' of environment '{name}'") if lock is not None else None,
            _pythons(python, name, checks) if python is not None else None,
        )
    return result


def _pythons(node: Node, name: str, checks: Checks) -> str | None:
    hint = PYTHON_FORM if isinstance(node, Scalar) and isinstance(node.value, str) else None
    if isinstance(node, Scalar) and isinstance(node.value, float):
        hint = "quote it: as a number, 3.10 would be 3.1"
    text = checks.text(node, f"'python' of environment '{name}'", "versions of Python", hint)
    if text is None or PYTHONS.fullmatch(text):
        return text
    checks.add(f"'python' of environment '{name}' cannot be '{text}'", node.mark, PYTHON_FORM)
    return None
