"""Every check of a first-party plugin keeps the contract of checks. What each looks at is in test_advice_checks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from seen_targets import INT8, REGISTRY, SOUND, step, with_last, with_params

from compressbuild.api.advice import EMPTY, Failure, Seen
from compressbuild.api.conformance import CheckContract

SLOW = replace(SOUND, ratios=(1.1, 1.08, 1.12))
ROW = {"op": "Gather", "shape": [300, 48], "bytes": 57600}
ERROR = {"op": "Gemm", "own": 3.0, "sqnr": 2.5}
FAULTS: dict[str, Seen] = {
    "empty-calibration": replace(
        SOUND,
        failed=Failure(node=INT8.node, role="technique", name=INT8.technique, mark=INT8.mark, error="e", about=EMPTY),
    ),
    "few-samples": with_last(SOUND, replace(with_params(INT8, samples=8), facts={"samples": 8})),
    "int8-not-faster": SLOW,
    "judged-on-its-own-data": with_last(SOUND, with_params(INT8, data="test")),
    "not-quantized": with_last(SOUND, replace(INT8, facts={"quantized_share": 0.3})),
    "pattern-without-kernels": replace(SOUND, steps=(step("prune.nm", 4),), backend="onnxruntime"),
    "samples-alike": with_last(SOUND, replace(INT8, facts={"calibration": {"constant": True}})),
    "saturation": replace(SOUND, saturates=True),
    "slow-convolutions": replace(with_last(SOUND, step("quantize.dynamic", 3, op_types=("Conv",))), ratios=None),
    "stored-twice": replace(
        SOUND,
        mark=SOUND.platform_mark,
        details={"layers": {"layers": [{**ROW, "name": "a"}, {**ROW, "name": "b"}], "repeated": [["a", "b"]]}},
    ),
    "too-much-at-once": replace(SOUND, steps=(step("prune.channels", 1, ratio=0.5),), value=0.5),
    "untested-edge-cases": replace(SOUND, thorough=True, last_metric=SOUND.platform_mark),
    "weights-slower": with_last(SLOW, step("quantize.weights", 3, bits=8)),
    "which-layer": replace(
        SOUND,
        steps=(INT8,),
        value=0.5,
        details={
            "layer-error": {"per_layer": {"y": {"lost": 0.9, "share": 1.0, "rounding": 0.0, "node": "fc", **ERROR}}}
        },
    ),
    "zeros-not-faster": replace(SLOW, steps=(step("prune.magnitude", 4, sparsity=0.5),)),
}


class OfCheck(CheckContract):
    def advised(self) -> Iterable[Seen]:
        return [FAULTS[self.check]]

    def sound(self) -> Iterable[Seen]:
        """The faults of the others are none of its own."""
        return [SOUND, *(seen for name, seen in FAULTS.items() if name != self.check)]


globals().update(
    {f"Test_check_{name}": type(f"Test_check_{name}", (OfCheck,), {"check": name}) for name in REGISTRY.checks}
)


@pytest.mark.parametrize("name", sorted(REGISTRY.checks))
def test_each_has_a_fault(name: str) -> None:
    assert name in FAULTS, f"plant a fault for check '{name}' in FAULTS"
