"""Every technique once, in one process; prints the digest of each file made. Run twice, it shows what is repeatable."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import digits
from cbuild_metrics.robustness.params.attacks import Pgd
from cbuild_onnx.convert.params import ConvertFp16
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Distill, Finetune, Train


def main(place: Path) -> None:
    def apply(name: str, run: str, subject: Path, params: object, **world: object) -> Path:
        return digits.apply(run, subject, params, place / name, **world).out

    start = digits.source(place / "source", width=16)
    base = apply("train", "cbuild_torch.train.finetune:train", start, Train(data="train", epochs=1))
    sparse = apply("magnitude", "cbuild_torch.prune.magnitude:prune", base, PruneMagnitude())
    tuned = apply("finetune", "cbuild_torch.train.finetune:train", sparse, Finetune(data="train", epochs=1))
    for criterion in ("l2", "taylor"):
        params = PruneChannels(criterion=criterion, data="train")
        slim = apply(f"channels-{criterion}", "cbuild_torch.prune.channels:prune", tuned, params)
    teacher = {"inputs": {"teacher": digits.as_input(base)}, "references": {"base": "teacher"}}
    student = Distill(data="train", teacher="base", epochs=1)
    slim = apply("distill", "cbuild_torch.train.distill:distill", slim, student, **teacher)
    onnx = apply("export", "cbuild_torch.to_onnx.export:export", slim, ExportOnnx())
    apply("dynamic", "cbuild_onnx.quantize.dynamic:quantize", onnx, QuantizeDynamic())
    for scheme in ("u8-affine", "s8-symmetric"):
        for method in ("minmax", "entropy", "percentile"):
            params = QuantizeStatic(data="calibration", scheme=scheme, method=method)
            apply(f"static-{scheme}-{method}", "cbuild_onnx.quantize.static:quantize", onnx, params)
    apply("fp16", "cbuild_onnx.convert.fp16:convert", onnx, ConvertFp16())
    apply("pgd", "cbuild_metrics.robustness.attack:pgd_examples", base, Pgd(data="test", samples=40))
    for path in sorted(place.rglob("*")):
        if path.is_file() and ".scratch" not in str(path):
            print(path.relative_to(place), hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
