"""A real Chromium, and a report of planted targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import launch

from compressbuild.evaluate.choice import Candidate, Terms, front
from compressbuild.report.page.pages import page
from compressbuild.report.picture.drawing import Box, Edge, Picture, svg


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = launch(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


def target(name: str, platform: str | None, top1: float, latency: float, size: int, **more: Any) -> dict[str, Any]:
    share = {str(c): {"n": 40, "correct": round(40 * top1)} for c in range(3)}
    classes = {c: {"value": top1, "n": 40, "base": 0.975} for c in share}
    found = {
        "name": name,
        "description": "",
        "tags": [],
        "source": "net",
        "platform": platform,
        "baseline": None if name == "big" else "big",
        "published": True,
        "size": size,
        "state": "published",
        "missing": [],
        "metrics": {
            "top1": {"value": top1, "n": 120, "per_class": share},
            "latency": {
                "value": latency,
                "ratio": latency / 4,
                "ratio_low": latency / 4.2,
                "ratio_high": latency / 3.8,
            },
            "size": {"value": size},
        },
        "unmeasured": {"sqnr": "no baseline <b>here</b>"},
        "gates": [],
        "warnings": [],
        "steps": [],
        "interface": None,
        "loading": "",
        "breakdowns": [{"metric": "top1", "by": "class", "rows": classes}],
        "layers": None,
        "logs": {f"{name}/train": "epoch 1 </script><script>window.broken = 1</script> & done"},
        "provenance": {"subjects": [{"name": "model.onnx", "sha256": "ab" * 32}], "steps": []},
        "history": [],
        "front": False,
    }
    return found | more


def layer(name: str, dtype: str, size: int, zeros: int, **more: Any) -> dict[str, Any]:
    counts = [min(i, 31 - i) * 6 for i in range(32)]
    return {
        "name": name, "op": "Conv", "shape": [16, 16, 3, 3], "dtype": dtype, "n": 2304, "bytes": size,
        "nonzero": 2304 - zeros, "low": -0.5, "high": 0.25, "histogram": counts, **more,
    }  # fmt: skip


STEP = {
    "id": "n0", "node": "net/source", "name": "source", "kind": "onnx", "status": "cached", "params": {"a": 1},
    "seconds": 0.1, "size": 10,
}  # fmt: skip
VECTORS = {"tensors": 4, "n": 64, "bytes": 256, "nonzero": 64}
LAYERS = {
    "big/layers": {
        "rows": [layer("a.weight", "float32", 9216, 0, sqnr8=41.5), layer("b.weight", "float32", 9216, 0, sqnr8=22.5)],
        "vectors": VECTORS,
    },
    "int8/layers": {
        "rows": [
            layer("a.weight_quantized", "int8", 2304, 1152, drop_alone=0.01, sqnr_alone=30.0),
            layer("b.weight_quantized", "int8", 2304, 0, drop_alone=0.2, sqnr_alone=12.0),
        ],
        "vectors": VECTORS,
    },
}
TABLES = [
    {
        "metric": "corruption",
        "by": "corruption",
        "rows": {
            f"{kind}-{level}": {"value": value, "base": 0.9, "n": 120}
            for kind in ("noise", "blur")
            for level, value in ((1, 0.89), (5, 0.4))
        },
    },
    {
        "metric": "fgsm",
        "by": "attack",
        "rows": {"eps 0.03": {"value": 0.7, "base": 0.72, "n": 120, "refused": False}},
    },
    {"metric": "throughput", "by": "batches", "rows": {"1": {"value": 100.5}, "8": {"value": 700}}},
]


ERRORS = [
    {
        "name": "x", "node": "conv<b>1</b>", "op": "Conv+Relu", "sqnr": 30.5, "own": 31.25, "lost": 0.004,
        "rounding": 0.002, "share": 0.01,
    },
    {"name": "y", "node": "", "op": "Gemm", "sqnr": 3.5, "own": 4.0, "lost": 0.4, "rounding": 0.0, "share": 0.99},
]  # fmt: skip
FLIPPED: dict[str, Any] = {
    "metric": "top1", "counts": {"lost": 22, "won": 1}, "looked": True, "said": None,
    "rows": [
        {"sample": 3, "way": "lost", "label": 1, "first": 1, "second": 2, "text": "a <b>film</b>\nof two lines"},
        {"sample": 7, "way": "won", "label": 4, "first": 5, "second": 4},
    ],
}  # fmt: skip
OPERATORS = {
    "layers": [
        {
            "name": "a.conv", "first": 40.0, "second": 10.0, "ratio": 0.25,
            "operators": [
                {"first": {"name": "x", "op": "Conv", "us": 40.0}, "second": {"name": "x", "op": "QConv", "us": 10.0}}
            ],
        }
    ],
    "runs": [60.0, 20.0], "rest": [20.0, 10.0], "batch": 8, "only_first": 0, "only_second": 0,
}  # fmt: skip
USED = {
    "seen": True,
    "inputs": [{"name": "image", "shape": ["batch", 3, 16, 16], "dtype": "float32"}],
    "outputs": [{"name": "logits", "shape": ["batch", 10], "dtype": "float32"}],
}


SEARCH: dict[str, Any] = {
    "time": 1.7e9, "objectives": {"size": "minimize", "top1": "maximize"}, "front": [2, 1], "chosen": 1,
    "units": {"size": "B"}, "relative": [], "across": "size", "up": "top1",
    "trials": [
        {"number": n, "parameters": {"ratio": ratio, "how": "<i>x</i>"}, "state": state, "reason": reason,
         "values": values, "limits": {"top1": [0.9]} if values else {}}
        for n, ratio, state, values, reason in (
            (1, 0.3, "feasible", {"size": 900, "top1": 0.96}, ""),
            (2, 0.5, "feasible", {"size": 700, "top1": 0.91}, ""),
            (3, 0.7, "infeasible", {"size": 400, "top1": 0.7}, "top1 min fail"),
            (4, 0.9, "failed", {}, "a/prune failed: <b>no</b> channel is left"),
        )
    ],
}  # fmt: skip


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    collapsed = "top1 collapsed in class 2 (0.97 → 0.30) against big"
    missed = {"metric": "top1", "limit": "min", "bound": 0.9, "value": 0.74, "margin": -0.16, "verdict": "fail"}
    past = [
        {"time": 1.7e9 + 86400 * day, "metrics": {"top1": 0.9 + day / 100, "size": 500}, "artifact": "ab"}
        for day in range(3)
    ]
    targets = [
        target("big", "cpu", 0.975, 4.0, 4000, layers="big/layers", steps=[STEP]),
        target(
            "int8",
            "cpu",
            0.97,
            1.5,
            1000,
            history=past,
            layers="int8/layers",
            errors=ERRORS,
            breakdowns=TABLES,
            interface=USED,
            loading='session = load(f"{directory}/model.onnx")  # <b>not bold</b>\noutputs = session.run(None, inputs)',
        ),
        target(
            "pruned",
            "cpu",
            0.74,
            0.9,
            700,
            state="gate failed",
            gates=[missed | {"ok": False, "reason": "", "against": None}],
        ),
        target(
            "slow",
            "edge",
            0.96,
            5.0,
            2000,
            warnings=[{"kind": "class-collapsed", "message": collapsed, "classes": ["2"]}],
        ),
        target("raw", None, 0.975, 9.0, 4100, metrics={}),
        target(
            "late",
            "edge",
            0.97,
            6.0,
            1900,
            warnings=[
                {"kind": "smaller-not-faster", "message": "smaller but slower than big: ×0.48 of the size"},
                {
                    "kind": "class-collapsed",
                    "message": "slices collapsed in slices",
                    "classes": list("abc"),
                    "rows": "slice",
                },
            ],
        ),
    ]
    targets[1]["metrics"]["top1"]["paired"] = {"verdict": "no difference shown", "p": 1.0, "low": -0.03, "high": 0.02,
        "lost": {"count": 22, "samples": list(range(20))}, "won": {"count": 1, "samples": [7]},
    }  # fmt: skip
    targets[5]["size"] = None
    targets[1] |= {"flipped": FLIPPED, "operators": OPERATORS}
    targets[2] |= {
        "flipped": {**FLIPPED, "looked": False},
        "operators": "'pruned' was not profiled: 'cbuild profile pruned' measures it",
    }
    targets[2]["search"] = SEARCH
    targets[3] |= {"flipped": {**FLIPPED, "said": "the loader <b>failed</b>"}}
    targets[5] |= {"flipped": {**FLIPPED, "rows": [{**row, "text": "", "image": ""} for row in FLIPPED["rows"]]}}
    ahead = front(
        [
            Candidate.of(t["name"], t["metrics"], Terms(quality="top1", speed="latency"), t["size"])
            for t in targets
            if t["platform"]
        ]
    )
    for one in targets:
        one["front"] = one["name"] in ahead
    return {
        "project": "planted <i>& quoted</i>",
        "version": "0",
        "time": 1.7e9,
        "targets": targets,
        "metrics": {
            "top1": {"unit": "", "direction": "higher", "summary": "", "role": "quality", "priority": 100},
            "latency": {
                "unit": "ms",
                "direction": "lower",
                "summary": "",
                "role": "cost",
                "priority": 100,
                "apart": True,
            },
            "size": {"unit": "B", "direction": "lower", "summary": "", "role": "cost", "priority": 90},
        },
        "nodes": [],
        "layers": LAYERS,
        "commit": {"id": "0123456789abcdef0123456789abcdef01234567", "changed": 2},
        "machine": {"processor": "A Processor", "cores": "2", "memory": "8 GiB"},
        "quality": "top1",
        "speed": "latency",
        "choices": [
            {
                "name": "int8",
                "platform": "cpu",
                "reasons": ["as good"],
                "rivals": {"big": "as good, but slower"},
                "remarks": ["no gate limits it"],
            }
        ],
    }


@pytest.fixture(scope="session")
def report(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    boxes = (
        Box("n0", "net", "", "source", True),
        Box("n1", "prune", "ratio 0.5", "technique", True),
        Box("t0", "big", "cpu", "target", True),
        Box("t1", "int8", "cpu", "target", True),
    )
    picture = Picture(boxes, (Edge("n0", "t0"), Edge("n0", "n1"), Edge("n1", "t1")))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(document, svg(picture)), encoding="utf-8")
    return path
