"""Dependencies before dependents, without recursion: files may chain names as deep as they like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

__all__ = ["dependencies_first"]


def dependencies_first(
    names: Iterable[str], needs: Callable[[str], Iterable[str]], loop: Callable[[list[str]], None]
) -> list[str]:
    """``names`` so ordered that what a name needs comes before it. ``loop`` is called with each loop, closed:
    ``[a, b, a]``; its members are ordered somehow."""
    order: list[str] = []
    done: set[str] = set()
    for start in names:
        stack: list[tuple[str, Iterator[str]]] = []
        path: dict[str, int] = {}
        following: str | None = start if start not in done else None
        while following is not None or stack:
            if following is not None:
                path[following] = len(path)
                stack.append((following, iter(needs(following))))
            name, rest = stack[-1]
            following = next((need for need in rest if _is_new(need, path, done, loop)), None)
            if following is None:
                stack.pop()
                del path[name]
                done.add(name)
                order.append(name)
    return order


def _is_new(need: str, path: dict[str, int], done: set[str], loop: Callable[[list[str]], None]) -> bool:
    if need in path:
        loop([*list(path)[path[need] :], need])
        return False
    return need not in done
