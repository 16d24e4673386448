"""Models of every kind, tiny and with weights by chance: what the source declares, and that its artifact and the
exported file compute what transformers computes, at sizes that export has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from cbuild_huggingface.params import HuggingFace
from cbuild_torch.model.public import ModelDescription, load

from compressbuild.api.testing import NodeRun, make_context, run_node

transformers = pytest.importorskip("transformers", reason="the models are those of transformers")

FACTORY = "cbuild_huggingface.model.factory:build"
TEXT = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT |= {"intermediate_size": 48, "max_position_embeddings": 512}
T5 = {"vocab_size": 120, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
HALVES = {"vocab_size": 120, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4}
HALVES |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "pad_token_id": 0}
HALVES |= {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
VISION = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
VISION |= {"image_size": 32, "patch_size": 8}
SHORT = {**TEXT, "num_hidden_layers": 1, "max_position_embeddings": 16}
SHORT |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
PYRAMID = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
DETR = {
    "use_timm_backbone": False,
    "backbone": None,
    "use_pretrained_backbone": False,
    "d_model": 32,
    **{name: HALVES[name] for name in HALVES if name.startswith(("encoder_", "decoder_")) and "token" not in name},
    "num_queries": 5,
    "num_labels": 3,
    "pad_token_id": 0,
}
IDS, PIXELS = ("batch", "sequence"), ("batch", 3, 32, 32)
DECODER = ("batch", "decoder_sequence")
# class, configuration, its keys, and the inputs that follow from them
KINDS: dict[str, tuple[str, str, dict[str, Any], dict[str, tuple[int | str, ...]]]] = {
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {**T5, "decoder_start_token_id": 0},
        {"input_ids": IDS, "attention_mask": IDS, "decoder_input_ids": DECODER},
    ),
    "bart": (
        "BartForConditionalGeneration",
        "BartConfig",
        {**HALVES, "max_position_embeddings": 512, "forced_eos_token_id": 2},
        {"input_ids": IDS, "attention_mask": IDS, "decoder_input_ids": DECODER},
    ),
    "whisper": (
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {**HALVES, "num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 512},
        {"input_features": ("batch", 16, 40), "decoder_input_ids": DECODER},
    ),
    "wav2vec2": (
        "Wav2Vec2ForCTC",
        "Wav2Vec2Config",
        {**VISION, "vocab_size": 30, "conv_dim": [16, 16], "conv_stride": [5, 2], "conv_kernel": [10, 3]}
        | {"num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
        {"input_values": ("batch", "samples")},
    ),
    "spectrogram": (
        "ASTForAudioClassification",
        "ASTConfig",
        {**VISION, "frequency_stride": 8, "time_stride": 8, "max_length": 64, "num_mel_bins": 16},
        {"input_values": ("batch", 64, 16)},
    ),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": SHORT, "vision_config": VISION, "projection_dim": 16},
        {"input_ids": IDS, "pixel_values": PIXELS, "attention_mask": IDS},
    ),
    "siglip": (
        "SiglipModel",
        "SiglipConfig",
        {"text_config": SHORT, "vision_config": VISION},
        {"input_ids": IDS, "pixel_values": PIXELS, "attention_mask": IDS},
    ),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        {**TEXT, "local_attention": 130, "global_attn_every_n_layers": 2, "pad_token_id": 0, "bos_token_id": 1}
        | {"eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
        {"input_ids": IDS, "attention_mask": IDS},
    ),
    "detr": ("DetrForObjectDetection", "DetrConfig", DETR, {"pixel_values": PIXELS}),
}
SIZES = ({"batch": 1, "sequence": 1, "decoder_sequence": 3, "samples": 401}, {"batch": 3, "sequence": 9}, {"batch": 2})
USUAL = {"batch": 2, "sequence": 14, "decoder_sequence": 6, "samples": 3000}


def saved(kind: str, folder: Path) -> torch.nn.Module:
    name, config, keys, _ = KINDS[kind]
    torch.manual_seed(0)
    settings = getattr(transformers, config)(**keys)
    if kind == "detr":
        settings.backbone_config = transformers.ResNetConfig(**PYRAMID, out_features=["stage2"])
    model = getattr(transformers, name)(settings).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    model.save_pretrained(folder)
    processor = '{"size": {"height": 32, "width": 32}, "image_processor_type": "ViTImageProcessor"}'
    if "pixel_values" in KINDS[kind][3]:
        (folder / "preprocessor_config.json").write_text(processor)
    return model


def feeds(kind: str, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    rng, made = np.random.default_rng(seed), {}
    for name, shape in KINDS[kind][3].items():
        size = [sizes.get(axis, USUAL[axis]) if isinstance(axis, str) else axis for axis in shape]
        if name == "attention_mask":
            made[name] = np.ones(size, np.int64)
            made[name][0, (size[1] + 1) // 2 :] = 0
        elif "ids" in name:
            made[name] = rng.integers(3, 119, size)
        else:
            made[name] = rng.standard_normal(size).astype(np.float32)
    return made


def expected(model: torch.nn.Module, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What transformers computes, but for the outputs of parts."""
    with torch.no_grad():
        found = model(**{name: torch.from_numpy(value) for name, value in given.items()})
    return {name: value.numpy() for name, value in found.items() if isinstance(value, torch.Tensor)}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[], NodeRun]:
    def read() -> NodeRun:
        params = msgspec.convert({"huggingface": "model"}, HuggingFace)
        return run_node("cbuild_huggingface.source:read", None, params, tmp_path / "out", root=tmp_path)

    return read


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_takes_and_computes(tmp_path: Path, read: Callable[[], NodeRun], kind: str) -> None:
    model = saved(kind, tmp_path / "model")
    made = read()
    inputs = ModelDescription.read(made.out).inputs
    assert {item.name: tuple(item.shape) for item in inputs} == KINDS[kind][3]
    given = feeds(kind, {})
    ctx = make_context(tmp_path / "loaded", run="x:y", params={}, factories=(FACTORY,))
    found = load(ctx, made.out)({item.name: given[item.name] for item in inputs})
    wanted = expected(model, given)
    assert {name for name in wanted if "cache" not in name} == set(found)
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_file_at_other_sizes(tmp_path: Path, read: Callable[[], NodeRun], kind: str) -> None:
    import onnxruntime
    from cbuild_torch.to_onnx.params.export import ExportOnnx

    model = saved(kind, tmp_path / "model")
    params = ExportOnnx(sizes={"samples": 2000} if kind == "wav2vec2" else {})
    made = run_node("cbuild_torch.to_onnx.export:export", read().out, params, tmp_path / "onnx", factories=(FACTORY,))
    session = onnxruntime.InferenceSession(made.out / "model.onnx")
    for seed, sizes in enumerate(SIZES):
        given = feeds(kind, sizes, seed)
        wanted = expected(model, given)
        found = session.run(None, given)
        for item, value in zip(session.get_outputs(), found, strict=True):
            np.testing.assert_allclose(value, wanted[item.name], rtol=1e-3, atol=1e-4, err_msg=f"{item.name} {sizes}")
