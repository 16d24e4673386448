"""What the machine has for nodes: CPU slots, memory, and being alone. Pure bookkeeping.

The scheduler asks for its ready nodes in order of priority; a need is granted if it fits. Policy:

* A need larger than the machine is cut to the machine, so that its node runs, with nothing beside it in that respect.
* An exclusive need (a latency measurement) is granted only when nothing runs, and nothing is granted beside it.
* Smaller needs may overtake one that does not fit, for an idle core helps nobody; but after ``patience`` overtakings
  nothing of lower priority is granted before it. So neither a large nor an exclusive need starves, and exclusive ones,
  which as leaves of the graph have low priority, mostly run when little else is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Need", "Pools"]


@dataclass(frozen=True, slots=True)
class Need:
    """``cpus``: threads; ``memory``: bytes, 0 if unknown."""

    cpus: int = 1
    memory: int = 0
    exclusive: bool = False


class Pools:
    """``cpus``: nodes' threads at once (``-j``); ``memory``: bytes that nodes may hold together, 0: not limited."""

    def __init__(self, cpus: int, memory: int = 0, *, patience: int = 8) -> None:
        if cpus < 1 or memory < 0 or patience < 0:
            raise ValueError(f"no such machine: {cpus} CPUs, {memory} bytes, patience {patience}")
        self.cpus, self.memory, self.patience = cpus, memory, patience
        self._granted: list[Need] = []
        self._refused: set[Need] = set()  # since something was last released: they do not fit for now
        self._overtaken: dict[Need, int] = {}

    @property
    def running(self) -> int:
        return len(self._granted)

    @property
    def is_full(self) -> bool:
        """Whether no need at all can be granted before something is released."""
        return self._used_cpus() >= self.cpus or any(need.exclusive for need in self._granted)

    def try_acquire(self, need: Need) -> bool:
        """Grant ``need`` if it can run now. Ask in order of priority."""
        cut = self._cut(need)
        if not self._fits(cut) or self._must_wait_for_another(cut):
            self._refused.add(cut)
            return False
        self._granted.append(cut)
        self._refused.discard(cut)
        self._overtaken.pop(cut, None)
        for other in self._refused:
            self._overtaken[other] = self._overtaken.get(other, 0) + 1
        return True

    def release(self, need: Need) -> None:
        """Give back what :meth:`try_acquire` granted. ValueError if it granted no such need."""
        self._granted.remove(self._cut(need))
        self._refused.clear()

    def _cut(self, need: Need) -> Need:
        memory = min(need.memory, self.memory) if self.memory else 0
        return replace(need, cpus=max(1, min(need.cpus, self.cpus)), memory=memory)

    def _used_cpus(self) -> int:
        return sum(need.cpus for need in self._granted)

    def _fits(self, need: Need) -> bool:
        if not self._granted:
            return True
        if need.exclusive or any(other.exclusive for other in self._granted):
            return False
        used = sum(other.memory for other in self._granted)
        return self._used_cpus() + need.cpus <= self.cpus and used + need.memory <= (self.memory or used + need.memory)

    def _must_wait_for_another(self, need: Need) -> bool:
        if not self._granted:
            return False
        return any(self._overtaken.get(other, 0) >= self.patience for other in self._refused if other != need)
