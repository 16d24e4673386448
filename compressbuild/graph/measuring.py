"""What is measured of a target: metric nodes and gates on top of its artifact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from ..api import AnswerMetric, ArtifactMetric, Metric, RunMetric
from ..compressfile.gates import in_unit
from ..compressfile.spec import HISTORY, EvaluateSpec, GateSpec, MetricUse, TargetSpec
from ..errors import Diagnostic
from ..platforms import Missing, lacking
from .compiling import run_with
from .draft import environment_of, union
from .labels import labelled
from .loading import add_loads, beside
from .node import Ask, GatePlan, MetricPlan, Node, RunWith, TargetPlan
from .origin import origin_of
from .params import NO_PLATFORM, Resolved, handed, resolve
from .previewing import PREVIEW, previewed
from .sources import companions
from .steps import Steps
from .typed import type_name

__all__ = ["Measuring"]


class Measuring:
    """Adds the metric nodes of targets to the draft of a graph."""

    def __init__(self, steps: Steps, asks: tuple[Ask, ...] = ()) -> None:
        self.steps = steps
        self.draft = steps.draft
        self.asks = asks
        self._plans: dict[str, TargetPlan | None] = {}

    def target(self, target: TargetSpec) -> TargetPlan | None:
        """The target's artifact node with all that is measured of it; None if a problem was found."""
        draft = self.draft
        model, artifact = self._pair(target.name)
        if model is None or artifact is None:
            return None
        evaluate = target.evaluate or draft.spec.evaluate or EvaluateSpec(target.mark)
        asked = self._asked(target, evaluate)
        if any(ask.alone for ask in self.asks if ask.of == target.name):
            return TargetPlan(target, artifact, model, (), (), None, self._missing(artifact), asked=asked)
        uses = {use.label: use for use in evaluate.metrics}
        for gate in target.gates:
            if gate.metric not in uses and gate.metric not in draft.registry.metrics:
                draft.unknown("metric", gate.metric, gate.mark)
                return None
            uses.setdefault(gate.metric, MetricUse(gate.metric, gate.mark))
        baseline = evaluate.baseline if evaluate.baseline != target.name else None
        metrics = [self.metric(target.name, use, evaluate, baseline) for use in uses.values()]
        units = {metric.name: metric.unit for metric in metrics if metric is not None}
        written = [self._in_unit(gate, units.get(gate.metric, "")) for gate in target.gates]
        gates = [self._gate(target, gate, uses[gate.metric], evaluate) if gate else None for gate in written]
        if any(m is None for m in metrics) or any(g is None for g in gates):
            return None
        return TargetPlan(
            target,
            artifact,
            model,
            tuple(m for m in metrics if m),
            tuple(g for g in gates if g),
            baseline,
            self._missing(artifact),
            self._compared(uses.values(), evaluate, baseline),
            self._details(target, uses, evaluate),
            asked,
            self._companions(target),
        )

    def _companions(self, target: TargetSpec) -> int | None:
        """The node that gathers what the model that the target starts from has published beside it."""
        spec = self.draft.spec
        while target.source in spec.targets:
            target = spec.targets[target.source]
        return companions(self.draft, spec.models[target.source])

    def _asked(self, target: TargetSpec, evaluate: EvaluateSpec) -> tuple[MetricPlan, ...]:
        """What commands ask for, in their order."""
        written = {use.label: use.params for use in evaluate.metrics}
        found = []
        for ask in self.asks:
            if ask.of == target.name:
                params = ask.params if ask.params is not None else written.get(ask.metric.name)
                use = MetricUse(ask.metric.name, target.mark, params)
                plan = self.metric(target.name, use, evaluate, ask.beside, ask.metric)
                if plan is not None and ask.samples:
                    plan = previewed(self.draft, plan, f"{target.name}/{PREVIEW}", ask.samples, evaluate)
                found.append(plan)
        return tuple(plan for plan in found if plan is not None)

    def _details(
        self, target: TargetSpec, uses: Mapping[str, MetricUse], evaluate: EvaluateSpec
    ) -> tuple[MetricPlan, ...]:
        """What is measured unasked for a target that has any measurement."""
        if not uses:
            return ()
        known = self.draft.registry.metrics.values()
        records = [m for m in known if isinstance(m, ArtifactMetric) and m.unasked and m.name not in uses]
        found = [self.metric(target.name, MetricUse(m.name, target.mark), evaluate, None) for m in records]
        return tuple(plan for plan in found if plan is not None and plan.node is not None)

    def _compared(
        self, uses: Iterable[MetricUse], evaluate: EvaluateSpec, baseline: str | None
    ) -> tuple[MetricPlan, ...]:
        """The baseline's metrics that have a value for each class."""
        if baseline is None:
            return ()
        metrics = self.draft.registry.metrics
        found = [self.metric(baseline, use, evaluate, None) for use in uses if metrics[use.name].per_class]
        return tuple(plan for plan in found if plan is not None and plan.node is not None)

    def _pair(self, name: str) -> tuple[int | None, int | None]:
        """(node before compiling, node published) of a target or model."""
        draft = self.draft
        artifact = self.steps.chain(name, None)
        if artifact is None or name in draft.spec.models:
            return artifact, artifact
        node = draft.nodes[artifact]
        while node.role == "compile":
            node = draft.nodes[node.inputs["subject"]]
        return node.index, artifact

    def _missing(self, index: int) -> tuple[Missing, ...]:
        """What this host lacks for a node or anything below it."""
        if not self.draft.lacking[index]:
            return ()
        seen: set[int] = set()
        stack = [index]
        found: list[Missing] = []
        while stack:
            at = stack.pop()
            if at not in seen:
                seen.add(at)
                found += self.draft.nodes[at].missing
                stack += self.draft.nodes[at].inputs.values()
        return tuple(dict.fromkeys(found))

    def _in_unit(self, gate: GateSpec, unit: str) -> GateSpec | None:
        """With limits in the metric's unit: a problem if one is a size of what is no size."""
        found = in_unit(gate, unit)
        if isinstance(found, GateSpec):
            return found
        what = "size" if gate.units[found] == "B" else "time"
        message = (
            f"'{found}' of gate '{gate.metric}' is a {what}, but the metric is {f'in {unit}' if unit else 'a number'}"
        )
        self.draft.problems.append(Diagnostic(message, gate.mark, "write a number in the metric's unit"))
        return None

    def _gate(self, target: TargetSpec, gate: GateSpec, use: MetricUse, evaluate: EvaluateSpec) -> GatePlan | None:
        if gate.against == HISTORY:
            return self._gate_of_history(target, gate, use, evaluate)
        relative = gate.max_ratio is not None or gate.min_ratio is not None
        metric = self.metric(target.name, use, evaluate, gate.against if relative else evaluate.baseline)
        against = self.metric(gate.against, use, evaluate, None) if gate.against is not None else None
        if metric is None or (gate.against is not None and against is None):
            return None
        return GatePlan(gate, metric, against)

    def _gate_of_history(
        self, target: TargetSpec, gate: GateSpec, use: MetricUse, evaluate: EvaluateSpec
    ) -> GatePlan | None:
        baseline = evaluate.baseline if evaluate.baseline != target.name else None
        metric = self.metric(target.name, use, evaluate, baseline)
        if metric is not None and gate.record == "best" and metric.direction == "none":
            message = f"gate '{gate.metric}' asks for the best, but the metric does not say which way is better"
            self.draft.problems.append(Diagnostic(message, gate.mark, "leave 'record' out: the last is compared"))
            return None
        return GatePlan(gate, metric) if metric is not None else None

    def metric(
        self,
        name: str,
        use: MetricUse,
        evaluate: EvaluateSpec,
        baseline: str | None,
        record: Metric | None = None,
    ) -> MetricPlan | None:
        """One metric of a target or model, with the node that measures it or the reason why none can. ``record``: None
        for the installed one."""
        draft = self.draft
        record = record or draft.registry.metrics.get(use.name)
        if record is None:
            draft.unknown("metric", use.name, use.mark)
            return None
        model, artifact = self._pair(name)
        if model is None or artifact is None:
            return None
        found = resolve(
            record.params,
            use.params,
            owner=f"metric '{record.name}'",
            mark=use.mark,
            settle=NO_PLATFORM,
            problems=draft.problems,
            types=draft.types,
        )
        if found is None or (plan := labelled(draft, record, found, use)) is None:
            return None
        compares = isinstance(record, AnswerMetric) and bool(record.origin)
        before = compares or (isinstance(record, ArtifactMetric) and record.of == "model")
        subject = model if before else artifact
        if self._missing(subject if compares else artifact):
            return replace(plan, reason=f"'{name}' cannot be built here")
        host = draft.nodes[artifact].host if isinstance(record, RunMetric) else draft.spec.host
        if missing := draft.missing(record.stack.needs, record.needs, host=host):
            return replace(plan, reason=f"not measured here: {lacking(missing)}")
        run: dict[str, RunWith] = {}
        if not compares and (reason := add_loads(self.draft, record, subject, model, run)):
            return replace(plan, reason=reason)
        if isinstance(record, AnswerMetric):
            predictions = self._predictions(name, record, found, subject, evaluate, use, run)
            if predictions is None:
                return None
            if isinstance(predictions, str):
                return replace(plan, reason=predictions)
            subject, run = predictions, {}
            if record.paired:
                return self._paired(name, record, found, plan, subject, evaluate, use, baseline)
        others: dict[str, int] = {}
        references = self.steps.referred(found, others, use.mark) if isinstance(record, RunMetric) else {}
        if references is None:
            return None
        loads = ((role, beside(draft, index, run["subject"])) for role, index in others.items())
        run |= {role: with_ for role, with_ in loads if with_ is not None}
        node = self._node(name, record, found, subject, run, evaluate, use, baseline, others=others, named=references)
        if missing := draft.nodes[node].missing:
            return replace(plan, reason=f"not measured here: {lacking(missing)}")
        return replace(plan, node=node)

    def _paired(
        self,
        name: str,
        record: AnswerMetric,
        found: Resolved,
        plan: MetricPlan,
        subject: int,
        evaluate: EvaluateSpec,
        use: MetricUse,
        baseline: str | None,
    ) -> MetricPlan | None:
        """A metric of the target's predictions and the baseline's."""
        if baseline is None or baseline == name:
            why = f"'{name}' is the baseline" if name == evaluate.baseline else "'evaluate' names no baseline"
            return replace(plan, reason=why)
        base = self._pair(baseline)[1]
        if base is None:
            return None
        with_ = None if self._missing(base) else run_with(self.draft, base)
        if with_ is None or with_.missing:
            return replace(plan, reason=f"the baseline '{baseline}' cannot be run here")
        other = self._predictions(baseline, record, found, base, evaluate, use, {"subject": with_})
        if other is None:
            return None
        if isinstance(other, str):
            return replace(plan, reason=f"the baseline: {other}")
        node = self._node(name, record, found, subject, {}, evaluate, use, baseline, other)
        return replace(plan, node=node)

    def _predictions(
        self,
        name: str,
        record: AnswerMetric,
        metric: Resolved,
        artifact: int,
        evaluate: EvaluateSpec,
        use: MetricUse,
        run: dict[str, RunWith],
    ) -> int | str | None:
        """The node that makes a target's predictions for a metric, or why there can be none; None: a problem."""
        draft = self.draft
        technique = draft.technique(record.via, use.mark)
        if technique is None:
            return None
        if evaluate.data is None and "data" in draft.types.fields(technique.params):
            message = f"metric '{record.name}' needs data to be measured on"
            draft.problems.append(Diagnostic(message, use.mark, "give 'evaluate:' a 'data:' dataset"))
            return None
        values = {"data": evaluate.data, **metric.values}
        inputs = {"subject": artifact}
        if record.examples is not None:
            examples = self._examples(name, record.examples, values, artifact, evaluate, use)
            if examples is None or isinstance(examples, str):
                return examples
            inputs["examples"] = examples
        if record.origin:
            if (kind := draft.nodes[artifact].kind) not in technique.consumes:
                return f"does not apply to {kind}"
            origin = origin_of(draft, name, record.origin, artifact)
            if isinstance(origin, str):
                return origin
            inputs["origin"] = origin
        found, position = handed(technique.params, values, draft.types), f"{name}/{technique.name}"
        node = self.steps.apply(technique, found, inputs, position, use.mark, evaluate.options, run)
        if node is None:
            return None
        if missing := self._missing(node):
            return f"not measured here: {lacking(missing)}"
        if "subject" in run:
            draft.nodes[node] = replace(
                draft.nodes[node],
                preload=union(technique.stack.preload, run["subject"].preload),
                tools=union(technique.stack.tools, run["subject"].tools),
            )
        return node

    def _examples(
        self, name: str, maker: str, values: Mapping[str, Any], artifact: int, evaluate: EvaluateSpec, use: MetricUse
    ) -> int | str | None:
        """The node that makes the inputs to predict on: of the surrogate, or of the closest ancestor that will do."""
        draft = self.draft
        technique = draft.technique(maker, use.mark)
        if technique is None:
            return None
        surrogate = values.get("surrogate")
        subject: int | None
        if surrogate is not None:
            subject = self.steps.reference("surrogate", surrogate, use.mark)
            owner = f"metric '{use.name}', parameter 'surrogate':"
            if subject is None or not draft.accepts(technique.consumes, subject, owner, use.mark):
                return None
        else:
            subject = artifact
            while subject is not None and draft.nodes[subject].kind not in technique.consumes:
                subject = draft.nodes[subject].inputs.get("subject")
        if subject is None:
            wanted = " or ".join(technique.consumes)
            return f"'{name}' is not made from a {wanted}; name one: {{{use.name}: {{surrogate: …}}}}"
        position = f"{surrogate or name}/{technique.name}"
        found = handed(technique.params, values, draft.types)
        return self.steps.apply(technique, found, {"subject": subject}, position, use.mark, evaluate.options)

    def _node(
        self,
        name: str,
        record: Metric,
        found: Resolved,
        subject: int,
        run: dict[str, RunWith],
        evaluate: EvaluateSpec,
        use: MetricUse,
        baseline: str | None,
        paired: int | None = None,
        others: Mapping[str, int] = {},
        named: Mapping[str, str] = {},
    ) -> int:
        """``others``: inputs that parameters refer to, by role. ``named``: the names there → roles."""
        draft = self.draft
        inputs = {"subject": subject, **others}
        if paired is not None:
            inputs["baseline"] = paired
        elif isinstance(record, RunMetric) and baseline is not None and baseline != name:
            base = self._pair(baseline)[1]
            other = base is not None and base != subject and not self._missing(base)
            with_ = beside(draft, base, run["subject"]) if other and base is not None else None
            if base is not None and with_ is not None:
                inputs["baseline"], run["baseline"] = base, with_
        model = self._pair(name)[0] if isinstance(record, RunMetric) and (record.model or record.census) else None
        if model is not None:
            inputs["model"] = model
            if "model" not in run and (of_model := beside(draft, model, run["subject"])) is not None:
                run["model"] = of_model
        exclusive = isinstance(record, RunMetric) and record.exclusive
        suffix = f"@{baseline}" if "baseline" in inputs and baseline != evaluate.baseline else ""
        return draft.intern(
            Node(
                0,
                f"{name}/{found.label.name if found.label is not None else record.name}{suffix}",
                "metric",
                record.name,
                record.version,
                record.run,
                "metrics",
                use.mark,
                params=found.values,
                params_type=type_name(record.params),
                key_params=found.key(),
                inputs=inputs,
                references=dict(named),
                run_with=run,
                models=draft.carried(inputs),
                functions=found.named("function"),
                tools=union(record.stack.tools, *(w.tools for w in run.values())),
                facts=union(*(w.facts for w in run.values())) if isinstance(record, RunMetric) else (),
                preload=union(record.stack.preload, *(w.preload for w in run.values())),
                options=draft.options(evaluate.options),
                environment=environment_of(record.stack),
                exclusive=exclusive,
                nondeterministic="a measurement" if exclusive else "",
            )
        )
