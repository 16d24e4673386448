"""What lies in a Hugging Face directory, read without running or unpickling anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressbuild.api import UserError

__all__ = ["beside", "check_weights", "read_config", "read_json", "read_pooling", "weight_files"]

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_BESIDE = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "*.model", "chat_template.*", "additional_chat_templates/*"),
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "[0-9]_*/config.json"),
)
_CONVERT = (
    "convert it where you trust it: AutoModel.from_pretrained(DIR).save_pretrained(DIR) with transformers 5 writes "
    "safetensors"
)


def beside(folder: Path) -> list[Path]:
    """The files of a model that are not its weights: configurations, tokenizer, chat template."""
    return sorted({path for pattern in _BESIDE for path in folder.glob(pattern) if path.is_file()})


def read_json(path: Path, shown: str) -> dict[str, Any]:
    """A mapping in JSON; UserError if it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{shown}/{path.name}' cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"'{shown}/{path.name}' is not a mapping", hint="save the model again with save_pretrained")
    return found


def read_config(folder: Path, shown: str) -> dict[str, Any]:
    """``config.json`` of a model whose code is in transformers and whose weights are floats."""
    if not folder.is_dir():
        raise UserError(f"'{shown}' is not a directory", hint="name the directory that save_pretrained wrote")
    if not (folder / _CONFIG).is_file():
        adapter = (folder / "adapter_config.json").is_file()
        hint = "merge the adapter into its model, and save that" if adapter else "name the directory of one model"
        raise UserError(f"'{shown}' has no {_CONFIG}, so it is not a model of transformers", hint=hint)
    config = read_json(folder / _CONFIG, shown)
    for name in (_CONFIG, "tokenizer_config.json", "preprocessor_config.json"):
        said = config if name == _CONFIG else read_json(folder / name, shown) if (folder / name).is_file() else {}
        if said.get("auto_map"):
            code = next(iter(said["auto_map"].values())) if isinstance(said["auto_map"], dict) else said["auto_map"]
            raise UserError(
                f"'{shown}/{name}' asks for code that comes with the model ({code}), and none of it is run",
                hint="if you trust the code, copy it into your project and write a 'factory:' that builds the model",
            )
    if config.get("quantization_config"):
        raise UserError(
            f"'{shown}' is quantized already, by '{config['quantization_config'].get('quant_method', 'another tool')}'",
            hint="start from the float weights: techniques quantize those",
        )
    return config


def check_weights(folder: Path, shown: str) -> None:
    """UserError unless the weights are safetensors, and all of them are there."""
    weight_files(folder, shown)


def weight_files(folder: Path, shown: str) -> list[str]:
    """Names of the files that hold the weights, the index of shards among them. UserError unless they are safetensors,
    and all of them are there."""
    if (folder / _WEIGHTS).is_file():
        return [_WEIGHTS]
    if (folder / _INDEX).is_file():
        shards = read_json(folder / _INDEX, shown).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise UserError(f"'{shown}/{_INDEX}' has no 'weight_map'", hint="save the model again with save_pretrained")
        for name in sorted(set(shards.values())):
            if "/" in name or not (folder / name).is_file():
                raise UserError(
                    f"'{shown}' lacks the shard '{name}' that {_INDEX} names", hint="copy all files of the model"
                )
        return [_INDEX, *sorted(set(shards.values()))]
    pickled = next((path.name for path in sorted(folder.glob("pytorch_model*.bin"))), None)
    if pickled is not None:
        raise UserError(
            f"'{shown}' has its weights in '{pickled}', a pickle, and to read a pickle runs code", hint=_CONVERT
        )
    raise UserError(f"'{shown}' has no {_WEIGHTS}", hint="copy all files of the model, or save it with save_pretrained")


def read_pooling(folder: Path, shown: str) -> Mapping[str, Any] | None:
    """How sentence-transformers makes one vector of the token's: ``{"pooling": …, "normalize": …}``; None: it does
    not say."""
    if not (folder / "modules.json").is_file():
        return None
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [(str(each["type"]).rpartition(".")[2], str(each["path"])) for each in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{shown}/modules.json' cannot be read: {error!r}") from error
    strange = [kind for kind, _ in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    place = next((path for kind, path in kinds if kind == "Pooling"), None)
    if strange or place is None:
        what = f"a module '{strange[0]}'" if strange else "no pooling"
        raise UserError(
            f"'{shown}/modules.json' has {what}, which the source 'huggingface' does not know",
            hint="'task: feature-extraction' gives the states of all tokens; or write a 'factory:'",
        )
    said = read_json(folder / place / "config.json", shown)
    modes = [name.removeprefix("pooling_mode_") for name, on in said.items() if name.startswith("pooling_mode_") and on]
    if "pooling_mode" in said:
        modes = [str(said["pooling_mode"])]
    known = {"mean_tokens": "mean", "cls_token": "cls", "mean": "mean", "cls": "cls"}
    if len(modes) != 1 or modes[0] not in known:
        raise UserError(
            f"'{shown}/{place}' pools by {', '.join(modes) or 'nothing'}; the source 'huggingface' knows mean and cls",
            hint="'task: feature-extraction' gives the states of all tokens; or write a 'factory:'",
        )
    return {"pooling": known[modes[0]], "normalize": any(kind == "Normalize" for kind, _ in kinds)}
