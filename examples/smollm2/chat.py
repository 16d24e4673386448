"""Ask a published target: ``python chat.py DIRECTORY QUESTION``. It needs the target's runtime, and nothing of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOKENS = 24


def genai(directory: Path, question: str) -> str:
    import onnxruntime_genai as og

    model = og.Model(str(directory))
    tokenizer = og.Tokenizer(model)
    prompt = tokenizer.apply_chat_template(json.dumps(message(question)), add_generation_prompt=True)
    ids = tokenizer.encode(prompt)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(ids) + TOKENS, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(ids)
    while not generator.is_done():
        generator.generate_next_token()
    return str(tokenizer.decode(generator.get_sequence(0)[len(ids) :]))


def openvino(directory: Path, question: str) -> str:
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(str(directory), "CPU")
    return str(pipeline.generate(question, max_new_tokens=TOKENS, do_sample=False))  # it uses the chat template


def gguf(directory: Path, question: str) -> str:
    from cyllama import LLM, GenerationConfig

    config = GenerationConfig(max_tokens=TOKENS, temperature=0.0, n_gpu_layers=0, n_ctx=512)
    return str(LLM(str(directory / "model.gguf"), config=config).chat(message(question)))


def transformers(directory: Path, question: str) -> str:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True)
    given = tokenizer.apply_chat_template(
        message(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**given, max_new_tokens=TOKENS, do_sample=False)
    return str(tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True))


def message(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


RUNTIMES = {
    "genai_config.json": genai,
    "openvino_model.xml": openvino,
    "model.gguf": gguf,
    "model.safetensors": transformers,
}

if __name__ == "__main__":
    place = Path(sys.argv[1])
    run = next(run for name, run in RUNTIMES.items() if (place / name).is_file())
    print(run(place, sys.argv[2]).strip())
