"""The lines that load an artifact, in the report."""

from __future__ import annotations

from pathlib import Path

import onnx_models as models

from compressbuild.project import Project
from compressbuild.report.data.about import loading_of

TEXT = """\
version: 1
models: {net: {file: net/model.onnx}}
platforms: {npu: {backend: openvino, device: NPU}}
targets: {a: {from: net, platform: npu}}
"""


def test_they_have_the_settings_also_of_what_is_to_be_built_again(tmp_path: Path) -> None:
    """Nothing is built here, so no key is known, as where a target was published and something has changed since."""
    models.save(models.cnn(blocks=1), tmp_path / "net")
    (tmp_path / "Compressfile").write_text(TEXT)
    project = Project(tmp_path / "Compressfile")
    action = project.plan(("a",)).actions[project.graph.targets["a"].artifact]
    assert action.parts is None
    said = loading_of(project, action, ["model.xml", "model.bin"])
    project.close()
    assert '"NPU"' in said
    assert "<" not in said
