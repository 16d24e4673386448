"""From the steps of a target to nodes: its source, one node for each technique, and the compile node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..api import Technique
from ..compressfile.spec import RunOptions, StepSpec, TargetSpec
from ..errors import Diagnostic, Mark
from ..platforms import Missing
from .compiling import compiled, run_with
from .draft import Draft, environment_of
from .node import Node, RunWith
from .params import Resolved, resolve
from .platforms import automatic
from .sources import source
from .typed import type_name

__all__ = ["Steps"]


class Steps:
    """Adds the nodes of targets to a draft. A method returns a node index, or None once the problem is recorded."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._chains: dict[tuple[str, str | None], int | None] = {}
        self._open: dict[tuple[str, str | None], None] = {}  # those that are being resolved, each for the one before it

    def chain(self, name: str, platform: str | None) -> int | None:
        """The node whose output is the artifact of a model or target, in the context of a platform for ``auto``."""
        spec = self.draft.spec
        waiting: list[tuple[str, str | None]] = []  # each made from the next
        wanted = key = (name, None if name in spec.models else platform)
        while key not in self._chains:
            if key[0] in spec.models:
                self._chains[key] = source(self.draft, spec.models[key[0]])
            elif not self._is_loop(key):
                waiting.append(key)
                self._open[key] = None
                target = spec.targets[key[0]]
                key = (target.source, None if target.source in spec.models else target.platform or key[1])
            else:
                break
        for key in reversed(waiting):
            self._chains[key] = self._target(spec.targets[key[0]], key[1])
            del self._open[key]
        return self._chains.get(wanted)

    def _is_loop(self, key: tuple[str, str | None]) -> bool:
        """Whether the target is being resolved already. A problem is recorded then."""
        if key not in self._open:
            return False
        names = [name for name, _ in self._open]
        loop = " -> ".join([*names[names.index(key[0]) :], key[0]])
        mark = self.draft.spec.targets[key[0]].mark
        hint = "make one of them without the other, or name a model in its place"
        self.draft.problems.append(Diagnostic(f"targets are made from each other: {loop}", mark, hint))
        return True

    def _target(self, target: TargetSpec, platform: str | None) -> int | None:
        """The source, then every step, then the compile node if the target has a platform."""
        at = self.chain(target.source, target.platform or platform)
        written: Counter[str] = Counter()
        for step in target.steps:
            if at is None:
                return None
            written[step.technique] += 1
            at = self._step(target, written[step.technique], step, at, target.platform or platform)
        return compiled(self.draft, target, at) if at is not None and target.platform is not None else at

    def _step(self, target: TargetSpec, nth: int, step: StepSpec, subject: int, platform: str | None) -> int | None:
        """``nth``: which of the target's steps of this technique it is."""
        draft = self.draft
        technique = draft.technique(step.technique, step.mark)
        if technique is None:
            return None
        owner = f"technique '{technique.name}'"
        if not draft.accepts(technique.consumes, subject, owner, step.mark):
            return None
        found = resolve(
            technique.params,
            step.params,
            owner=owner,
            mark=step.mark,
            settle=automatic(draft, platform),
            problems=draft.problems,
            types=draft.types,
        )
        if found is None:
            return None
        suffix = f"#{nth}" if nth > 1 else ""
        return self.apply(
            technique, found, {"subject": subject}, f"{target.name}/{technique.name}{suffix}", step.mark, step.options,
            unsettled=_unsettled(target, step),
        )  # fmt: skip

    def apply(
        self,
        technique: Technique,
        found: Resolved,
        inputs: dict[str, int],
        position: str,
        mark: Mark,
        options: RunOptions,
        loads: Mapping[str, RunWith] | None = None,
        unsettled: tuple[Missing, ...] = (),
    ) -> int | None:
        """A technique node: the subject, plus an edge for each reference among its parameters. ``unsettled``: values
        that nobody has chosen yet."""
        draft = self.draft
        references = self.referred(found, inputs, mark)
        if references is None:
            return None
        if not draft.datasets_known(found, mark):
            return None
        subject = draft.nodes[inputs["subject"]]
        loads = {**self._loads(technique, inputs), **(loads or {})}
        return draft.intern(
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
                models=draft.carried(inputs),
                datasets=found.named("dataset"),
                functions=found.named("function"),
                files=found.named("file"),
                tools=technique.stack.tools,
                preload=technique.stack.preload,
                environment=environment_of(technique.stack),
                options=draft.options(options),
                nondeterministic=technique.nondeterministic,
                missing=(
                    *draft.missing(technique.stack.needs, technique.needs, found.needs, host=draft.host_with(loads)),
                    *unsettled,
                ),
                facts=tuple(dict.fromkeys(f for w in loads.values() for f in w.facts)),
            )
        )

    def _loads(self, technique: Technique, inputs: Mapping[str, int]) -> dict[str, RunWith]:
        """How inputs that the technique does not read itself are run: an ONNX or compiled teacher, say."""
        kinds = {role: self.draft.nodes[index].kind for role, index in inputs.items() if role != "subject"}
        others = {role: inputs[role] for role, kind in kinds.items() if kind not in technique.consumes}
        return {role: with_ for role, i in others.items() if (with_ := run_with(self.draft, i)) is not None}

    def referred(self, found: Resolved, inputs: dict[str, int], mark: Mark) -> dict[str, str] | None:
        """Name of a model or target that parameters refer to → its role, which is added to ``inputs``. None: one of
        them is unknown."""
        references: dict[str, str] = {}
        for ref in found.of("model"):
            index = self.reference(ref.name, ref.value, ref.mark or mark)
            if index is None:
                return None
            if ref.value in references:
                continue
            same = sum(role.partition("#")[0] == ref.name for role in inputs)
            references[ref.value] = f"{ref.name}#{same + 1}" if same else ref.name
            inputs[references[ref.value]] = index
        return references

    def reference(self, parameter: str, name: str, mark: Mark) -> int | None:
        """The node of a model or target that a parameter names."""
        spec = self.draft.spec
        if name in spec.models or name in spec.targets:
            return self.chain(name, None)
        self.draft.undefined("model or target", parameter, name, {**spec.models, **spec.targets}, mark)
        return None


def _unsettled(target: TargetSpec, step: StepSpec) -> tuple[Missing, ...]:
    hint = f"'cbuild tune {target.name} --minimize METRIC --apply' chooses it; or add 'value:' to the range at "
    return tuple(
        Missing(f"a value for '{one.parameter}' of '{step.technique}'", f"{hint}{one.mark}", everywhere=True)
        for one in step.ranges
        if one.open
    )
