"""Small artifacts for a plugin's tests, and the error for a technique that asks for a runner of its subject."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.api import ModelInput, UserError
from compressbuild.api.testing import make_context, onnx_model, torch_model

INPUTS = (ModelInput("x", ("batch", 4), "float32"),)


@pytest.fixture(autouse=True)
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny_factory.py").write_text(
        "from torch import nn\n\n\ndef build(width):\n    return nn.Linear(4, width)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_model_of_each_kind(tmp_path: Path) -> None:
    model = onnx_model(tmp_path, "tiny_factory:build", INPUTS, args={"width": 3})
    ctx = make_context(tmp_path / "run", subject=model, kind="onnx", load="cbuild_onnx.model.runner:load")
    assert ctx.runner("subject").inputs == INPUTS
    assert {path.name for path in (tmp_path / "torch-model").iterdir()} == {"model.json", "weights.safetensors"}


def test_a_technique_is_given_no_runner_of_its_subject(tmp_path: Path) -> None:
    model = torch_model(tmp_path, "tiny_factory:build", INPUTS, args={"width": 3})
    ctx = make_context(tmp_path / "run", subject=model, kind="torch-model")
    with pytest.raises(UserError, match="nothing can run 'subject'") as refused:
        ctx.runner("subject")
    assert "cbuild_torch.model.public" in refused.value.hint
