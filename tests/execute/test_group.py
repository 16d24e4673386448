"""Results that come in a hurry are synced together, and announced when they are durable."""

from __future__ import annotations

import time

import pytest
from inline import InlineExecutor
from toyproject import Toy

from compressbuild.errors import StoreError
from compressbuild.execute import group
from compressbuild.execute.events import NodeFinished, NodeStarted
from compressbuild.store import ActionResult, Store
from compressbuild.store.ac import ActionCache

DEEP = 12
TEXT = "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n" + "".join(
    f"  t{i}: {{from: {f't{i - 1}' if i else 'f'}, steps: [{{toy.mix: {{salt: {i}, modulus: 100003}}}}]}}\n"
    for i in range(DEEP)
)


@pytest.fixture
def hurried(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A chain, each of whose results but the first comes in a hurry, however busy the machine is."""
    monkeypatch.setattr(group, "_HURRY", 60.0)
    monkeypatch.setattr(group, "_PATIENCE", 60.0)
    toy.write("Compressfile", TEXT)
    return toy


def finished(toy: Toy) -> list[str]:
    return [event.node for event in toy.events if isinstance(event, NodeFinished) and event.status == "built"]


def test_a_chain_is_synced_in_few_groups(hurried: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    flush = Store.flush

    def counted(store: Store) -> None:
        flushed.append(len(store._pending))
        flush(store)

    monkeypatch.setattr(Store, "flush", counted)
    report, ran = hurried.build()
    assert report.exit_code == 0
    assert len(ran) == DEEP
    assert max(flushed) == DEEP
    assert len(finished(hurried)) == DEEP + 1
    assert hurried.build()[1] == []


def test_nothing_is_announced_before_it_is_durable(hurried: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the records of a group cannot be written, the build fails with the store's error, no node was said to be
    finished, and no action stays locked while the error is handled."""
    put = ActionCache.put

    def failing(cache: ActionCache, *results: ActionResult) -> None:
        if len(results) > 1:
            raise StoreError("the disk is full")
        put(cache, *results)

    with monkeypatch.context() as patch:
        patch.setattr(ActionCache, "put", failing)
        with pytest.raises(StoreError, match="the disk is full") as caught:
            hurried.build()
    locks = {path.name for path in (hurried.root / "cache" / "locks").rglob("*") if path.is_file()}
    assert locks == {"measuring", "users"}, "a lock's file goes when it is released"
    assert caught.tb is not None, "the frames of the error, which would keep them open, are alive"
    assert finished(hurried) == ["f/source"]
    assert sum(isinstance(event, NodeStarted) for event in hurried.events) == DEEP + 1
    assert not (hurried.root / "build").exists() or not any((hurried.root / "build").iterdir())
    assert len(hurried.build()[1]) == DEEP


@pytest.mark.parametrize(("most", "patience"), [(4, 60.0), (200, 0.0)], ids=["many", "late"])
def test_a_group_does_not_grow_for_long(
    hurried: Toy, monkeypatch: pytest.MonkeyPatch, most: int, patience: float
) -> None:
    monkeypatch.setattr(group, "_MOST", most)
    monkeypatch.setattr(group, "_PATIENCE", patience)
    sizes: list[int] = []
    sync = group.Group.sync

    def counted(opened: group.Group) -> list[group.Ended]:
        sizes.append(len(found := sync(opened)))
        return found

    monkeypatch.setattr(group.Group, "sync", counted)
    hurried.build()
    assert sum(sizes) == DEEP + 1
    assert max(sizes) <= (most if patience else 2)


def test_what_a_group_holds_when_the_build_is_interrupted_is_kept(
    hurried: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = InlineExecutor.start

    def interrupted(executor: InlineExecutor, token: int, request: object, **options: object) -> None:
        if len(executor.ran) == DEEP - 2:
            raise KeyboardInterrupt
        start(executor, token, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "start", interrupted)
        with pytest.raises(Exception, match="interrupted"):
            hurried.build()
    assert len(hurried.build()[1]) == 2


def test_slow_results_are_synced_one_by_one(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_HURRY", 0.0)
    monkeypatch.setattr(group, "_PATIENCE", 0.0)
    toy.write("Compressfile", TEXT)
    order: list[str] = []
    toy.build()
    for event in toy.events:
        if isinstance(event, NodeStarted | NodeFinished):
            order.append(f"{type(event).__name__} {event.node}")
    assert order == [
        f"{kind} {node}"
        for node in ("f/source", *(f"t{i}/toy.mix" for i in range(DEEP)))
        for kind in ("NodeStarted", "NodeFinished")
    ]


def test_results_that_come_sooner_than_one_is_synced_are_synced_together(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_HURRY", 0.0)
    monkeypatch.setattr(group, "_PATIENCE", 60.0)
    toy.write("Compressfile", TEXT)
    flush, flushed = Store.flush, []

    def slow(store: Store) -> None:
        if store._pending:
            flushed.append(len(store._pending))
            time.sleep(1.0 if len(flushed) == 1 else 0.0)
        flush(store)

    monkeypatch.setattr(Store, "flush", slow)
    toy.build()
    assert flushed == [1, DEEP]
