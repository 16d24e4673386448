"""The README of a Hugging Face repository: metadata for the Hub's search, then the model card."""

from __future__ import annotations

from compressbuild.api import Parcel

from .params import HuggingFace

__all__ = ["MARK", "card"]

MARK = "<!-- written by cbuild push; remove this line to keep your own text -->"
_LIBRARIES = {
    "onnx": "onnx", "onnxruntime-model": "onnx", "openvino-ir": "openvino", "torch-model": "pytorch",
    "executorch-program": "executorch", "coreml-package": "coreml", "tflite": "litert",
    "hf-model": "transformers", "hf-quantized": "transformers", "gguf-model": "gguf",
    "genai-model": "onnx", "openvino-genai-model": "openvino",
}  # fmt: skip
_DOWNLOAD = """\
## Download

```python
from huggingface_hub import snapshot_download
directory = snapshot_download("{repo}"{revision})
```

"""


def card(parcel: Parcel, repo: str, branch: str, options: HuggingFace) -> str:
    revision = f', revision="{branch}"' if branch != "main" else ""
    at = parcel.card.find("## Load\n")
    at = parcel.card.find("## How it was made\n") if at < 0 else at
    body = parcel.card[:at] + _DOWNLOAD.format(repo=repo, revision=revision) + parcel.card[at:]
    return f"---\n{_metadata(parcel, options)}\n---\n\n{MARK}\n\n{body}"


def _metadata(parcel: Parcel, options: HuggingFace) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    data = parcel.labels.get("data")
    results = None
    if options.pipeline_tag and data and parcel.metrics:
        results = [
            EvalResult(
                task_type=options.pipeline_tag,
                dataset_type=data,
                dataset_name=data,
                metric_type=name,
                metric_value=value,
            )
            for name, value in parcel.metrics.items()
        ]
    found = ModelCardData(
        license=options.license,
        library_name=_LIBRARIES.get(parcel.kind),
        pipeline_tag=options.pipeline_tag,
        base_model=options.base_model,
        tags=list(dict.fromkeys(("compressbuild", *options.tags))),
        model_name=parcel.target if results else None,
        eval_results=results,
    )
    return str(found.to_yaml()).strip()
