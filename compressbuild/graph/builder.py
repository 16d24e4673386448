"""Spec + plugins → nodes. Every problem of the pass is collected; equal steps on equal inputs become one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from ..api import Backend, Kind, Needs, Technique
from ..compressfile.spec import PlatformSpec, RunOptions, Spec, StepSpec, TargetSpec
from ..errors import Diagnostic, Mark
from ..platforms import Facts, Missing, check
from ..plugins import Registry
from ..words import suggest
from .catalogue import platform_of
from .compiling import compiled, run_with
from .node import Node, RunWith
from .params import Resolved, resolve, type_name
from .sources import source

__all__ = ["Builder"]


class Builder:
    """Grows the node list. A method returns a node index, or None once the problem has been recorded."""

    def __init__(self, spec: Spec, registry: Registry, facts: Facts) -> None:
        self.spec = spec
        self.registry = registry
        self.facts = facts
        self.nodes: list[Node] = []
        self.problems: list[Diagnostic] = []
        self._interned: dict[bytes, int] = {}
        self._chains: dict[tuple[str, str | None], int | None] = {}
        self.platforms: dict[str, PlatformSpec | None] = {}
        self._needs: dict[Needs, tuple[Missing, ...]] = {}
        self.settings: dict[str, Resolved | None] = {}
        self.positions: dict[int, list[str]] = {}
        self.runs: dict[int, RunWith | None] = {}

    # -- nodes -------------------------------------------------------------------------------------------------------

    def intern(self, node: Node) -> int:
        """The index of the node that does this work, new or known."""
        identity = msgspec.json.encode(
            [
                node.role,
                node.name,
                node.run,
                node.key_params,
                node.params,
                node.inputs,
                node.datasets,
                node.options,
                [(role, with_.owner, with_.settings) for role, with_ in node.run_with.items()],
                [m.what for m in node.missing],  # of two platforms that differ in 'requires', one may be met
            ],
            order="deterministic",
        )
        index = self._interned.setdefault(identity, len(self.nodes))
        if index == len(self.nodes):
            self.nodes.append(replace(node, index=index))
        self.positions.setdefault(index, [])
        if node.position not in self.positions[index]:
            self.positions[index].append(node.position)
        return index

    def missing(self, *needs: Needs) -> tuple[Missing, ...]:
        """What the host lacks of all these, each once."""
        for each in needs:
            if each not in self._needs:
                self._needs[each] = tuple(check(each, self.facts))
        return tuple(dict.fromkeys(lack for each in needs for lack in self._needs[each]))

    def options(self, *layers: RunOptions) -> RunOptions:
        """The first layer that says something wins, then the file's defaults, then one thread and seed 0."""
        merged: dict[str, Any] = {"timeout": None, "memory": None, "threads": 1, "seed": 0}
        for layer in (self.spec.defaults, *reversed(layers)):
            merged.update({name: getattr(layer, name) for name in merged if getattr(layer, name) is not None})
        return RunOptions(**merged)

    # -- names -------------------------------------------------------------------------------------------------------

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

    def backend(self, platform: str | None) -> Backend | None:
        declared = platform_of(self, platform) if platform is not None else None
        return self.registry.backends.get(declared.backend) if declared is not None else None

    # -- targets -----------------------------------------------------------------------------------------------------

    def chain(self, name: str, platform: str | None) -> int | None:
        """The node whose output is the artifact of a model or target, in the context of a platform for ``auto``."""
        if name in self.spec.models:
            platform = None
        key = (name, platform)
        if key not in self._chains:
            if name in self.spec.models:
                self._chains[key] = source(self, self.spec.models[name])
            else:
                self._chains[key] = self._target(self.spec.targets[name], platform)[1]
        return self._chains[key]

    def _target(self, target: TargetSpec, platform: str | None) -> tuple[int | None, int | None]:
        model = self.model_of(target, platform)
        if target.platform is None or model is None:
            return model, model
        return model, compiled(self, target, model)

    def model_of(self, target: TargetSpec, platform: str | None = None) -> int | None:
        """The node before compiling: the source, then every step."""
        at = self.chain(target.source, target.platform or platform)
        for number, step in enumerate(target.steps, 1):
            if at is None:
                return None
            at = self.step(target, number, step, at, target.platform or platform)
        return at

    def step(self, target: TargetSpec, number: int, step: StepSpec, subject: int, platform: str | None) -> int | None:
        technique = self.technique(step.technique, step.mark)
        if technique is None:
            return None
        owner = f"technique '{technique.name}'"
        if not self.accepts(technique.consumes, subject, owner, step.mark):
            return None
        found = resolve(
            technique.params,
            step.params,
            owner=owner,
            mark=step.mark,
            backend=self.backend(platform),
            problems=self.problems,
        )
        if found is None:
            return None
        repeated = [s.technique for s in target.steps[:number]].count(technique.name)
        suffix = f"#{repeated}" if repeated > 1 else ""
        return self.apply(
            technique, found, {"subject": subject}, f"{target.name}/{technique.name}{suffix}", step.mark, step.options
        )

    def apply(
        self,
        technique: Technique,
        found: Resolved,
        inputs: dict[str, int],
        position: str,
        mark: Mark,
        options: RunOptions,
        loads: Mapping[str, RunWith] | None = None,
    ) -> int | None:
        """A technique node: the subject, plus an edge for each reference among its parameters."""
        references = {}
        for ref in found.of("model"):
            index = self.reference(ref.name, ref.value, ref.mark or mark)
            if index is None:
                return None
            if ref.value in references:
                continue
            same = sum(role.partition("#")[0] == ref.name for role in inputs)
            references[ref.value] = f"{ref.name}#{same + 1}" if same else ref.name
            inputs[references[ref.value]] = index
        if not self.datasets_known(found, mark):
            return None
        subject = self.nodes[inputs["subject"]]
        loads = {**self._loads(technique, inputs), **(loads or {})}
        return self.intern(
            Node(
                0,
                position,
                "technique",
                technique.name,
                technique.version,
                technique.run,
                technique.produces or subject.kind,
                mark,
                params=found.values,
                params_type=type_name(technique.params),
                key_params=found.key(),
                inputs=inputs,
                references=references,
                run_with=loads,
                models=self.carried(inputs),
                datasets=found.named("dataset"),
                functions=found.named("function"),
                files=found.named("file"),
                tools=technique.stack.tools,
                preload=technique.stack.preload,
                options=self.options(options),
                nondeterministic=technique.nondeterministic,
                missing=self.missing(technique.stack.needs, technique.needs, found.needs),
                facts=tuple(dict.fromkeys(f for w in loads.values() for f in w.facts)),
            )
        )

    def _loads(self, technique: Technique, inputs: Mapping[str, int]) -> dict[str, RunWith]:
        """How inputs that the technique does not read itself are run: an ONNX or compiled teacher, say."""
        others = {r: i for r, i in inputs.items() if r != "subject" and self.nodes[i].kind not in technique.consumes}
        return {role: with_ for role, i in others.items() if (with_ := run_with(self, i)) is not None}

    def reference(self, parameter: str, name: str, mark: Mark) -> int | None:
        """The node of a model or target that a parameter names."""
        if name in self.spec.models or name in self.spec.targets:
            return self.chain(name, None)
        self.undefined("model or target", parameter, name, {**self.spec.models, **self.spec.targets}, mark)
        return None

    def datasets_known(self, found: Resolved, mark: Mark) -> bool:
        """Whether every dataset that is named is declared; a problem is recorded for each that is not."""
        unknown = [ref for ref in found.of("dataset") if ref.value not in self.spec.datasets]
        for ref in unknown:
            self.undefined("dataset", ref.name, ref.value, self.spec.datasets, ref.mark or mark)
        return not unknown

    def undefined(self, what: str, parameter: str, name: str, known: Mapping[str, Any], mark: Mark) -> None:
        hint = suggest(name, known, otherwise=f"known: {', '.join(sorted(known)) or 'none'}")
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
