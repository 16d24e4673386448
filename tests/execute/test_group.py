"""Results that come in a hurry are synced together, and announced when they are durable."""

from __future__ import annotations

import time

import pytest
from inline import InlineExecutor
from toyproject import Toy

from compressbuild.errors import StoreError
from compressbuild.execute import group
from compressbuild.execute.events import NodeFinished, NodeStarted
from compressbuild.store import Store

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
    """If syncing fails, the build fails with the store's error, and no node was said to be finished."""
    flush = Store.flush

    def failing(store: Store) -> None:
        if len(store._pending) > 1:
            raise StoreError("the disk is full")
        flush(store)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "flush", failing)
        with pytest.raises(StoreError, match="the disk is full"):
            hurried.build()
    assert finished(hurried) == ["f/source"]
    assert sum(isinstance(event, NodeStarted) for event in hurried.events) == DEEP + 1
    assert not (hurried.root / "build").exists() or not any((hurried.root / "build").iterdir())
    assert len(hurried.build()[1]) == DEEP


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
