"""Compile quantized models with each runtime and count right answers: a script, for a processor that is emulated.

Prints ``{model: {runtime: {"top1": …, "sqnr_db": …}}}``.
"""

import json
import sys
from pathlib import Path

import numpy as np
from cbuild_onnxruntime import runner as ort
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from cbuild_openvino import runner as ov
from cbuild_openvino.settings import OpenVinoSettings
from data import TRAIN, batches

from compressbuild.api.testing import make_context, run_node

RUNTIMES = {
    "onnxruntime": ("cbuild_onnxruntime.compile:compile", OnnxRuntimeSettings(), ort.load),
    "openvino": ("cbuild_openvino.compile:compile", OpenVinoSettings(), ov.load),
}


def judged(model: Path, runtime: str, place: Path) -> dict[str, float]:
    run, settings, load = RUNTIMES[runtime]
    node = run_node(run, model, settings, place / f"{model.name}-{runtime}", kind="onnx")
    runner = load(make_context(place / "ctx"), node.out, settings)
    right = [
        next(iter(runner({"image": images}).values())).argmax(-1) == labels for images, labels in batches(TRAIN, None)
    ]
    return {"top1": float(np.concatenate(right).mean()), "sqnr_db": node.facts["sqnr_db"]}


if __name__ == "__main__":
    scratch, *models = (Path(word).absolute() for word in sys.argv[1:])
    found = {model.name: {runtime: judged(model, runtime, scratch) for runtime in RUNTIMES} for model in models}
    print(json.dumps(found))
