"""What the QNN plugin offers keeps the contract. Where its packages are not installed, its parameters do."""

from __future__ import annotations

import digits
from cbuild_qnn.settings import QnnSettings

from compressbuild.api.conformance import BackendContract, KindContract, artifact
from compressbuild.api.testing import run_node

from . import subjects


class Test_backend_qnn(BackendContract):
    backend = "qnn"
    preload = ("numpy",)
    settings = {"soc-model": 57, "fp16": True}
    others = {"sizes": {"batch": 2}}
    refuses = ({"fp16": True}, {"htp-arch": "v60"})
    unfit_params = ({"sizes": {"nowhere": 2}},)

    def subject(self, place):
        return subjects.onnx_model()

    def unfit(self, place):
        return [subjects.strange_onnx()]


class Test_kind_qnn_context(KindContract):
    kind = "qnn-context"
    preload = ("numpy",)
    raw = ("*.bin",)  # which only its device can open

    def subject(self, place):
        out = subjects.place() / "context"
        if not out.exists():
            entry = artifact(subjects.onnx_model(), "onnx")
            run_node("cbuild_qnn.compile:compile", entry, QnnSettings(soc_model=57, fp16=True), out, root=digits.ROOT)
        return out
