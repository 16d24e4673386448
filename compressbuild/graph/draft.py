"""The graph while it grows: its nodes, each once, what they need, and every problem found on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from ..api import Kind, Needs, Stack, Technique
from ..compressfile.spec import PlatformSpec, RunOptions, Spec
from ..errors import Diagnostic, Mark
from ..platforms import Facts, Missing, check
from ..registry import Registry
from ..words import did_you_mean
from .node import DataWith, Node, RunWith
from .params import Resolved
from .typed import Types

__all__ = ["Draft", "environment_of", "union"]

if TYPE_CHECKING:
    from ..machines.machines import Machines

T = TypeVar("T")
_GPU = Needs(gpu=True)


class Draft:
    """The node list of a graph in the making. Equal steps on equal inputs become one node.

    ``platforms``, ``settings`` and ``runs`` keep what has been resolved already; None once a problem was recorded.
    ``opened``: datasets that a plugin's source opens.
    """

    def __init__(
        self, spec: Spec, registry: Registry, facts: Facts, types: Types, machines: Machines | None = None
    ) -> None:
        self.spec = spec
        self.registry = registry
        self._facts, self._machines = facts, machines
        self.types = types
        self.nodes: list[Node] = []
        self.positions: dict[int, list[str]] = {}
        self.problems: list[Diagnostic] = []
        self.platforms: dict[str, PlatformSpec | None] = {}
        self.settings: dict[str, Resolved | None] = {}
        self.runs: dict[int, RunWith | None] = {}
        self.opened: dict[str, DataWith] = {}
        self.identities: list[bytes] = []  # of each node
        self.lacking: list[bool] = []  # whether the host lacks something for it, or for a node below
        self._interned: dict[bytes, int] = {}
        self._placed: dict[str, int] = {}  # position → node
        self._needs: dict[tuple[str, Needs], tuple[Missing, ...]] = {}

    def intern(self, node: Node) -> int:
        """The index of the node that does this work, new or known.

        Its identity is a digest of the work with that of its inputs, so it is the same in every graph."""
        node = self._with_sources(node)
        if not node.host:
            node = replace(node, host=self._host_for(node))
        if node.options.gpus:
            node = replace(node, missing=union(node.missing, self.missing(_GPU, host=node.host)))
        node = _placed(node)
        said = msgspec.json.encode(
            [
                node.role,
                node.name,
                node.run,
                node.key_params,
                node.params,
                {role: self.identities[source] for role, source in node.inputs.items()},
                node.datasets,
                [(name, w.load, w.params, w.rows) for name, w in node.data_with.items()],
                node.carried,
                node.options,
                node.environment,
                [(role, with_.owner, with_.settings) for role, with_ in node.run_with.items()],
                [m.what for m in node.missing],  # of two platforms that differ in 'requires', one may be met
                *([node.host] if node.host else []),
            ],
            order="deterministic",
        )
        identity = blake3(said).digest(length=16)
        index = self._interned.setdefault(identity, len(self.nodes))
        position = self._position(node.position, index)
        if index == len(self.nodes):
            self.nodes.append(replace(node, index=index, position=position))
            self.identities.append(identity)
            self.lacking.append(bool(node.missing) or any(self.lacking[source] for source in node.inputs.values()))
        self.positions.setdefault(index, [])
        if position not in self.positions[index]:
            self.positions[index].append(position)
        return index

    def _position(self, wanted: str, index: int) -> str:
        """``wanted``, or with a number where it is another node's: two metrics may ask for different predictions."""
        position, nth = wanted, 1
        while self._placed.setdefault(position, index) != index:
            nth += 1
            position = f"{wanted}#{nth}"
        return position

    def _with_sources(self, node: Node) -> Node:
        """The node with all that the plugins' sources take which it opens or loads."""
        opened = {name: found for name in node.datasets if (found := self.opened.get(name)) is not None}
        models = (self.spec.models[name].source for name in node.models)
        records = [self.registry.sources[source] for source in models if source is not None]
        if not opened and not records:
            return node
        missing = [self.missing(record.stack.needs, record.needs) for record in records]
        missing += [with_.missing for with_ in opened.values()]
        own = [*(environment_of(r.stack) for r in records), *(w.environment for w in opened.values())]
        return replace(
            node,
            data_with=opened,
            carried=tuple(dict.fromkeys(record.factory for record in records if record.factory)),
            tools=union(node.tools, *(r.stack.tools for r in records), *(w.tools for w in opened.values())),
            preload=union(node.preload, *(r.stack.preload for r in records), *(w.preload for w in opened.values())),
            missing=union(node.missing, *missing),
            environment=next((e for e in (node.environment, *own) if e is not None), None),
        )

    def missing(self, *needs: Needs, host: str | None = None) -> tuple[Missing, ...]:
        """What a host lacks of all these, each once. None: the one that runs the file's nodes."""
        at = self.spec.host if host is None else host
        for each in needs:
            if (at, each) not in self._needs:
                found = self._machines.check(at, each) if at and self._machines else check(each, self._facts)
                self._needs[at, each] = tuple(found)
        return tuple(dict.fromkeys(lack for each in needs for lack in self._needs[at, each]))

    # -- machines ----------------------------------------------------------------------------------------------------

    def facts_at(self, host: str) -> Facts:
        """Those of the machine with this address; empty: of this one."""
        return self._machines.facts(host) if host and self._machines else self._facts

    def host_of(self, platform: PlatformSpec | None) -> str:
        """The address of the machine that compiles and runs for a platform."""
        return (platform.host if platform is not None else "") or self.spec.host

    def host_with(self, loads: Mapping[str, RunWith]) -> str:
        """Where a node runs that runs these inputs: where its subject was compiled, whatever is measured beside it."""
        subject = loads.get("subject")
        return (subject.host if subject is not None else "") or self.spec.host

    def _host_for(self, node: Node) -> str:
        """A file that is merely read is read here, and so are weights whose format could run code."""
        return "" if node.role in ("import", "source") or node.isolate else self.host_with(node.run_with)

    def options(self, *layers: RunOptions) -> RunOptions:
        """The first layer that says something wins, then the file's defaults, then one thread and seed 0."""
        merged: dict[str, Any] = {"timeout": None, "memory": None, "threads": 1, "seed": 0}
        merged |= {"gpus": None, "retries": None}
        for layer in (self.spec.defaults, *reversed(layers)):
            merged.update({name: getattr(layer, name) for name in merged if getattr(layer, name) is not None})
        return RunOptions(**merged)

    # -- look-ups ----------------------------------------------------------------------------------------------------

    def technique(self, name: str, mark: Mark) -> Technique | None:
        found = self.registry.techniques.get(name)
        if found is None:
            self.unknown("technique", name, mark)
        return found

    def unknown(self, what: str, name: str, mark: Mark) -> None:
        error = self.registry.unknown(what, name)
        self.problems.append(Diagnostic(str(error), mark, error.hint))

    def kind(self, name: str) -> Kind:
        return self.registry.kinds.get(name) or Kind(name=name, files=("*",))

    def datasets_known(self, found: Resolved, mark: Mark) -> bool:
        """Whether every dataset that is named is declared; a problem is recorded for each that is not."""
        unknown = [ref for ref in found.of("dataset") if ref.value not in self.spec.datasets]
        for ref in unknown:
            self.undefined("dataset", ref.name, ref.value, self.spec.datasets, ref.mark or mark)
        return not unknown

    def undefined(self, what: str, parameter: str, name: str, known: Mapping[str, Any], mark: Mark) -> None:
        guess = did_you_mean(name, known)
        hint = f"did you mean '{guess}'?" if guess else f"known: {', '.join(sorted(known)) or 'none'}"
        self.problems.append(Diagnostic(f"parameter '{parameter}' names an unknown {what} '{name}'", mark, hint))

    def carried(self, inputs: Mapping[str, int]) -> tuple[str, ...]:
        """Sources whose factory runs when these inputs are loaded."""
        loaded = (self.nodes[index] for index in inputs.values())
        return tuple(sorted({m for node in loaded if self.kind(node.kind).carries_code for m in node.models}))

    def accepts(self, consumes: tuple[str, ...], subject: int, owner: str, mark: Mark) -> bool:
        kind = self.nodes[subject].kind
        if not consumes or kind in consumes:
            return True
        makers = [
            t.name
            for t in self.registry.techniques.values()
            if t.produces in consumes and (kind in t.consumes or not t.consumes)
        ]
        hint = (
            f"put {' or '.join(sorted(makers))} before it" if makers else f"nothing installed turns '{kind}' into that"
        )
        if self.nodes[subject].role == "compile":
            hint = "its input was compiled for a platform; start from the target before that"
        self.problems.append(
            Diagnostic(f"{owner} takes {' or '.join(consumes)}, but its input is '{kind}'", mark, hint)
        )
        return False


def union(*parts: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))


def environment_of(stack: Stack) -> str | None:
    """The name of the environment that a stack is for."""
    return stack.environment.name if stack.environment is not None else None


def _placed(node: Node) -> Node:
    """The node with the environment that its process has: its record's, or that of what it loads. Software of two
    environments cannot be in one process."""
    loads = {with_.environment for with_ in node.run_with.values() if with_.environment is not None or with_.tools}
    wanted = loads | ({node.environment} if node.environment is not None else set())
    if len(wanted) < 2:
        name = next(iter(wanted), None)
        if node.host and name is not None:  # environments are made here only
            lack = Missing(f"the environment '{name}', which no other machine can have yet", everywhere=True)
            return replace(node, environment=name, missing=(*node.missing, lack))
        return replace(node, environment=name) if wanted else node
    names = sorted("the engine's" if each is None else f"'{each}'" for each in wanted)
    lack = Missing(f"one Python environment for software of several ({', '.join(names)})", everywhere=True)
    return replace(node, missing=(*node.missing, lack))
