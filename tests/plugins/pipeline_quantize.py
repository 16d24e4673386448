"""The quantization and sharing techniques once each, in one process; prints the digest of each file made."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import digits
from cbuild_onnx.convert.params import ConvertBf16
from cbuild_onnx.quantize.params import QuantizeMixed, QuantizeStatic, QuantizeWeights
from cbuild_torch.rewrite.params.activations import ReplaceActivation
from cbuild_torch.rewrite.params.cluster import ShareCluster
from cbuild_torch.rewrite.params.sharing import ShareLayers
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from cbuild_torch.train.params import Train


def main(place: Path) -> None:
    def apply(name: str, run: str, subject: Path, params: object, **world: object) -> Path:
        return digits.apply(run, subject, params, place / name, **world).out

    start = digits.source(place / "source", factory="sequence_models:transformer")
    base = apply("train", "cbuild_torch.train.finetune:train", start, Train(data="train", epochs=1))
    for scheme in ("u8-affine", "s8-symmetric"):
        params = QuantizeQat(data="calibration", epochs=1, scheme=scheme)
        apply(f"qat-{scheme}", "cbuild_torch.to_onnx.qat:quantize", base, params)
    apply("cluster", "cbuild_torch.rewrite.cluster:share", base, ShareCluster(data="calibration", epochs=1))
    apply("activation", "cbuild_torch.rewrite.activations:replace", base, ReplaceActivation(map={"GELU": "ReLU"}))
    groups = (("encoder.layers.0", "encoder.layers.1"),)
    apply("layers", "cbuild_torch.rewrite.sharing:share", base, ShareLayers(groups=groups))
    onnx = apply("export", "cbuild_torch.to_onnx.export:export", base, ExportOnnx())
    static = QuantizeStatic(data="calibration", scheme="u8-affine", activations="uint16", smooth=0.5)
    apply("static", "cbuild_onnx.quantize.static:quantize", onnx, static)
    for method in ("rtn", "hqq", "gptq"):
        params = QuantizeWeights(method=method, data="calibration")
        apply(f"weights-{method}", "cbuild_onnx.quantize.weights:quantize", onnx, params)
    reader = digits.source(place / "reader", factory="sequence_models:lstm")
    read = apply("export-reader", "cbuild_torch.to_onnx.export:export", reader, ExportOnnx())
    recurrent = QuantizeWeights(bits=8, op_types=("LSTM", "Gemm"))
    apply("weights-recurrent", "cbuild_onnx.quantize.weights:quantize", read, recurrent)
    mixed = QuantizeMixed(data="calibration", scheme="u8-affine", layers=("Gemm",), max_drop=0.02)
    apply("mixed", "cbuild_onnx.quantize.mixed:quantize", onnx, mixed)
    apply("bf16", "cbuild_onnx.convert.bf16:convert", onnx, ConvertBf16(tolerance=0.2))
    for path in sorted(place.glob("*/*")):
        if path.is_file() and ".scratch" not in str(path):
            print(path.relative_to(place), hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
