"""What a check of ``cbuild advise`` owes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ...advise import advise
from ..advice import Advice, Seen
from .contract import Contract
from .plugin import manifest_imports, registry

__all__ = ["CheckContract"]


class CheckContract(Contract):
    """``check``: the record's name. :meth:`advised` gives targets with the fault, :meth:`sound` others without it."""

    what: ClassVar[str] = "check"
    check: ClassVar[str] = ""

    def advised(self) -> Iterable[Seen]:
        """Targets that it has something to say of. Abstract: the plugin's test gives them."""
        raise NotImplementedError(f"{type(self).__name__} must have a method advised(self) -> Iterable[Seen]")

    def sound(self) -> Iterable[Seen]:
        """Targets like those, without the fault. Abstract: the plugin's test gives them."""
        raise NotImplementedError(f"{type(self).__name__} must have a method sound(self) -> Iterable[Seen]")

    def said(self, seen: Seen) -> list[Advice]:
        """What the check says of a target, well-formed."""
        found = advise([seen], {self.name: self.record}, registry().owner)
        assert not found.failed, found.failed[0]
        return [each for each in found.advice if each.check == self.name]

    def test_it_names_the_fault(self) -> None:
        targets = list(self.advised())
        assert targets, "advised() gives no target"
        for seen in targets:
            advice = self.said(seen)
            assert advice, f"check '{self.name}' says nothing of '{seen.target}'"
            assert all(each.what and each.evidence for each in advice), "advice says what is wrong, with its evidence"

    def test_it_is_silent_on_sound_targets(self) -> None:
        targets = list(self.sound())
        assert targets, "sound() gives no target"
        for seen in (*targets, Seen(target="unbuilt")):
            assert not self.said(seen), f"check '{self.name}' advises on '{seen.target}', which is sound"

    def test_it_is_pure(self) -> None:
        for seen in self.advised():
            assert self.said(seen) == self.said(seen), "the same target gets other advice the second time"

    def test_its_module_is_cheap(self) -> None:
        found = manifest_imports(self.record.run.partition(":")[0])
        assert not found, f"its module imports {', '.join(found)}: 'cbuild advise' imports it in its own process"
