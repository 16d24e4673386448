"""``cache``: a directory, or a mapping that also says where results are shared."""

from __future__ import annotations

from ..words import DURATION
from .checks import Checks
from .nodes import Map, Node, Scalar
from .paths import Paths
from .publishing import has_password
from .spec import RemoteSpec

__all__ = ["CACHE_KEYS", "caching"]

CACHE_KEYS = ("directory", "remote", "trust", "read-only", "timeout")
_DIRECTORY = "cache"
_HINT = 'write {remote: "s3://bucket/prefix", trust: [keys/ci.pub]}'


def caching(node: Node | None, checks: Checks, paths: Paths) -> tuple[str, RemoteSpec]:
    """The directory of the cache, and the remote one."""
    if node is None:
        return _DIRECTORY, RemoteSpec()
    if not isinstance(node, Map):
        return checks.text(node, "'cache'", "a directory, or a mapping", _HINT) or _DIRECTORY, RemoteSpec()
    found = checks.mapping(node, "'cache'", CACHE_KEYS, _HINT)
    given = {str(key.value): value for key, value in found.entries} if found is not None else {}
    directory = checks.text(given["directory"], "'directory'", "a directory") if "directory" in given else None
    return directory or _DIRECTORY, _remote(given, checks, paths)


def _remote(given: dict[str, Node], checks: Checks, paths: Paths) -> RemoteSpec:
    if "remote" not in given:
        for key in ("trust", "read-only", "timeout"):
            if key in given:
                checks.add(f"'{key}' of 'cache' needs 'remote'", given[key].mark, _HINT)
        return RemoteSpec()
    node = given["remote"]
    url = checks.text(node, "'remote'", "the URL of an object store, such as s3://bucket/prefix")
    if url is not None and "://" not in url:
        checks.add(f"'remote' must be the URL of an object store, not '{url}'", node.mark, "s3://bucket/prefix")
    if url is not None and has_password(url):
        checks.add("'remote' holds a password", node.mark, "remove it; credentials come from the environment")
    seconds = checks.quantity(given["timeout"], "'timeout'", DURATION) if "timeout" in given else None
    return RemoteSpec(
        url or "",
        paths.many(given["trust"], "'trust'") if "trust" in given else (),
        _flag(given.get("read-only"), checks),
        seconds if seconds is not None and seconds > 0 else RemoteSpec().timeout,
        node.mark,
    )


def _flag(node: Node | None, checks: Checks) -> bool:
    if node is None:
        return False
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    checks.wrong(node, "'read-only'", "true or false")
    return False
