"""Random histories of a store against a dict: what the store must say of every key, after every step."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from blake3 import blake3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from compressbuild.digest import digest_value
from compressbuild.store import Damaged, Evicted, Hit, Store
from compressbuild.store.fsck import verify
from compressbuild.store.gc import collect

contents = st.sampled_from([b"", b"a", b"b", b"shared" * 100, b"large" * 2000])
outputs = st.dictionaries(st.sampled_from(["m", "d/w", "d/x"]), contents, max_size=3)
names = st.integers(0, 4)


class StoreMachine(RuleBasedStateMachine):
    """``model``: name → (files, tree digest, evicted). ``bad``: digests of objects that were damaged or removed."""

    @initialize(sync=st.booleans())
    def open(self, sync: bool) -> None:
        self.base = Path(
            tempfile.mkdtemp(prefix="compressbuild-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        )
        self.place = 0
        self.sync = sync
        self.model: dict[int, tuple[dict[str, bytes], str, bool]] = {}
        self.bad: set[str] = set()
        self.store = Store(self.cache, sync=sync)

    @property
    def cache(self) -> Path:
        return self.base / f"cache-{self.place}"

    def teardown(self) -> None:
        if hasattr(self, "base"):
            shutil.rmtree(self.base)

    def objects(self, name: int) -> set[str]:
        files, tree, _ = self.model[name]
        return {tree, *(blake3(data).hexdigest() for data in files.values())}

    def commit(self, name: int, files: dict[str, bytes], consume: bool) -> None:
        out = self.store.scratch()
        for path, data in files.items():
            (out / path).parent.mkdir(exist_ok=True)
            (out / path).write_bytes(data)
        result = self.store.commit(
            out, key=digest_value(name), kind="k", label="l", seconds=0, peak_rss=0, facts={}, consume=consume
        )
        if not consume:
            self.store.discard(out)
        self.model[name] = (files, result.output, False)
        self.bad -= self.objects(name)

    @rule(name=names, files=outputs, consume=st.booleans())
    def build(self, name: int, files: dict[str, bytes], consume: bool) -> None:
        self.commit(name, files, consume)

    @rule(builds=st.lists(st.tuples(names, outputs), max_size=4))
    def build_in_a_batch(self, builds: list[tuple[int, dict[str, bytes]]]) -> None:
        with self.store.batch():
            for name, files in builds:
                self.commit(name, files, True)
                self.what_the_store_says()

    @precondition(lambda self: self.model)
    @rule(data=st.data(), how=st.sampled_from(["flip", "truncate", "grow", "delete"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        digest = data.draw(st.sampled_from(sorted(self.objects(name))))
        path = Path(self.store.dir.object(digest))
        if not path.exists():
            return
        old = path.read_bytes()
        new = {"flip": old[:-1] + bytes([old[-1] ^ 1]) if old else b"!", "truncate": old[:-1], "grow": old + b"\0"}
        path.unlink() if how == "delete" else path.chmod(0o644)
        if how != "delete":
            path.write_bytes(new[how])
        if how == "delete" or new[how] != old:
            self.bad.add(digest)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def damage_a_record(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        path = Path(self.store.dir.record(digest_value(name)))
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-2])
        del self.model[name]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.cache, sync=self.sync)

    @rule(copied=st.booleans())
    def move(self, copied: bool) -> None:
        self.store.close()
        old = self.cache
        self.place += 1
        if copied:
            shutil.copytree(old, self.cache)
            shutil.rmtree(old)
        else:
            old.rename(self.cache)
        self.store = Store(self.cache, sync=self.sync)

    @rule(size=st.sampled_from([None, 0, 3000, 12_000]), keep=st.lists(names, max_size=2))
    def gc(self, size: int | None, keep: list[int]) -> None:
        self.store.close()
        report = collect(self.store, max_size=size, keep=[digest_value(name) for name in keep])
        there = {path.name for path in (self.cache / "cas").rglob("*") if path.is_file()}
        for name, (files, tree, evicted) in list(self.model.items()):
            gone = self.objects(name) - there
            record = self.store.ac.get(digest_value(name))
            assert record is not None
            assert gone <= self.bad or tree in self.bad or record.evicted, "gc removed what a record promises"
            self.model[name] = (files, tree, record.evicted)
            assert record.evicted >= evicted
            self.bad |= gone
        left = sum(
            path.stat().st_size for part in ("cas", "ac") for path in (self.cache / part).rglob("*") if path.is_file()
        )
        assert report.size_after == left
        assert size is None or not there or left <= size
        assert os.listdir(self.cache / "tmp") == os.listdir(self.cache / "quarantine") == []

    @rule()
    def fsck(self) -> None:
        self.store.close()
        needed = {name: self.objects(name) & self.bad for name in self.model}
        report = verify(self.store)
        damaged = {finding.name for finding in report.findings if finding.kind == "damaged-record"}
        assert damaged == {digest_value(n) for n, bad in needed.items() if bad and not self.model[n][2]}
        assert verify(self.store).findings == ()
        for name, (files, tree, evicted) in list(self.model.items()):
            self.model[name] = (files, tree, evicted or bool(needed[name]))

    @invariant()
    def what_the_store_says(self) -> None:
        for name in range(5):
            found = self.store.lookup(digest_value(name))
            if name not in self.model:
                assert found is None
                continue
            files, tree, evicted = self.model[name]
            kind = Hit if not self.objects(name) & self.bad else Evicted if evicted else Damaged
            assert type(found) is kind
            assert found.result.output == tree
            if kind is Hit:
                out = self.base / "out"
                self.store.materialise(tree, out)
                assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files
                shutil.rmtree(out)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=20)
