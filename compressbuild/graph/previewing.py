"""The node that shows what samples of the evaluation data are."""

from __future__ import annotations

from msgspec.structs import replace

from ..api import Previewing
from ..compressfile.spec import EvaluateSpec
from ..platforms import lacking
from .draft import Draft
from .node import MetricPlan, Node
from .typed import type_name

__all__ = ["PREVIEW", "previewed"]

PREVIEW = "samples"  # the step in its position
_DATA = "data"  # the parameter of the technique that names the dataset


def previewed(
    draft: Draft, plan: MetricPlan, position: str, samples: tuple[int, ...], evaluate: EvaluateSpec
) -> MetricPlan:
    """The plan of a preview in place of that of the metric which judged the samples: by the technique that made the
    answers, because it knows what their rows are. It takes the dataset alone, so equal questions are one node."""
    if plan.node is None:
        return plan
    answers = draft.nodes[draft.nodes[plan.node].inputs["subject"]]
    record = draft.registry.techniques.get(answers.name) if answers.role == "technique" else None
    data = answers.params.get(_DATA)
    if record is None or record.preview is None or data is None:
        return replace(plan, node=None, reason=f"'{answers.name}' cannot show samples")
    node = draft.intern(
        Node(
            0,
            position,
            "metric",
            f"preview.{record.name}",
            record.version,
            record.preview,
            "metrics",
            answers.mark,
            params={_DATA: data, "samples": list(samples)},
            params_type=type_name(Previewing),
            key_params={"samples": list(samples)},
            datasets=(data,),
            tools=record.stack.tools,
            preload=record.stack.preload,
            options=draft.options(evaluate.options),
            missing=draft.missing(record.stack.needs, record.needs),
        )
    )
    if missing := draft.nodes[node].missing:
        return replace(plan, node=None, reason=f"not shown here: {lacking(missing)}")
    return replace(plan, node=node)
