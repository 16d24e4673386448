"""``publish``: where targets can be pushed. Beside ``to`` and ``targets`` stand options of the destination."""

from __future__ import annotations

from .checks import Checks
from .nodes import Map, Node, Scalar
from .spec import PublishSpec

__all__ = ["PUBLISH_KEYS", "has_password", "publishing"]

PUBLISH_KEYS = ("to", "targets")
_HINT = 'write {to: "s3://bucket/models", targets: [cpu-int8]}'


def has_password(address: str) -> bool:
    """Whether it holds a secret: it would be shown, and kept where the address is written."""
    from urllib.parse import urlsplit

    try:
        return bool(urlsplit(address).password)
    except ValueError:  # no address at all; whoever opens it says so
        return False


def publishing(key: Scalar, node: Node, checks: Checks) -> tuple[PublishSpec, Node | None] | None:
    """An entry, with the list of what it is for, which is looked up once every target is known."""
    what = f"'publish' entry '{key.value}'"
    found = checks.mapping(node, what, hint=_HINT)
    if found is None:
        return None
    given = {str(name.value): value for name, value in found.entries}
    if "to" not in given:
        checks.missing(found, "to", PUBLISH_KEYS, f"{what} needs 'to'", key.mark, _HINT)
        return None
    to = checks.text(given["to"], "'to'", "an address, such as s3://bucket/models")
    if to is None:
        return None
    if has_password(to):
        checks.add(
            f"'to' of {what} holds a password", given["to"].mark, "remove it; credentials come from the environment"
        )
        return None
    options = Map(tuple(entry for entry in found.entries if entry[0].value not in PUBLISH_KEYS), found.mark)
    marks = {name: value.mark for name, value in given.items()}
    return PublishSpec(str(key.value), key.mark, to, (), options, marks), given.get("targets")
