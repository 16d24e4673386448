"""The source ``exported``: files of ``torch.export.save``, honest ones and such that would run code when torch reads
them. The oracle of an attack is torch's own reader: where that runs the code, ours must not."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from cbuild_torch.to_onnx.params.program import ExportedProgram
from torch import Tensor, nn
from torch.export import Dim

from compressbuild.api import UserError
from compressbuild.api.testing import run_node
from compressbuild.project import Project

RUN = "cbuild_torch.to_onnx.program:read"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(image))).flatten(1))


class Pair(nn.Module):
    """Takes two inputs, one of them by name, and returns a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, ids: Tensor, *, mask: Tensor) -> dict[str, Tensor]:
        found = self.table(ids) * mask.unsqueeze(-1)
        return {"states": found, "scores": self.out(found.sum(1) / mask.sum(1, keepdim=True))}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 7, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0][:, -1]


def save(path: Path, module: nn.Module, args: tuple[Any, ...], **more: Any) -> Path:
    torch.export.save(torch.export.export(module.eval(), args, **more), path)
    return path


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    shapes = {"image": {0: Dim("n")}}
    return save(tmp_path_factory.mktemp("honest") / "net.pt2", Net(), (torch.randn(2, 1, 8, 8),), dynamic_shapes=shapes)


def read(path: Path, out: Path, **params: Any) -> onnxruntime.InferenceSession:
    run_node(RUN, None, ExportedProgram(exported=path.name, **params), out, root=path.parent)
    return onnxruntime.InferenceSession(out / "model.onnx")


def test_a_network_with_a_dynamic_batch_is_that_network(honest: Path, tmp_path: Path) -> None:
    session = read(honest, tmp_path / "out")
    (item,), (output,) = session.get_inputs(), session.get_outputs()
    assert (item.name, item.shape[1:], output.name) == ("image", [1, 8, 8], "linear")
    assert item.shape[0] == "batch"
    module = torch.export.load(honest).module()
    for batch in (1, 3, 17):
        image = torch.randn(batch, 1, 8, 8)
        np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], module(image).detach(), atol=1e-5)


def test_inputs_by_name_axes_and_outputs_in_a_mapping(tmp_path: Path) -> None:
    torch.manual_seed(1)
    shapes = {"ids": {0: Dim("n"), 1: Dim("words")}, "mask": {0: Dim("n"), 1: Dim("words")}}
    module = Pair()
    given = {"ids": torch.randint(0, 20, (2, 5)), "mask": torch.ones(2, 5)}
    path = save(tmp_path / "pair.pt2", module, (given["ids"],), kwargs={"mask": given["mask"]}, dynamic_shapes=shapes)
    symbols = sorted({str(size) for size in torch.export.load(path).range_constraints})
    with pytest.raises(UserError, match=r"names 's1', but 'pair\.pt2' has no such size") as caught:
        read(path, tmp_path / "bad", axes={"s1": "words"})
    assert all(symbol in (caught.value.hint or "") for symbol in symbols)
    nodes = torch.export.load(path).graph.nodes
    words = next(str(node.meta["val"].shape[1]) for node in nodes if node.name == "ids")
    session = read(path, tmp_path / "out", outputs=["states", "scores"], axes={words: "words"})
    assert [item.shape for item in session.get_inputs()] == [["batch", "words"]] * 2
    assert [item.name for item in session.get_inputs()] == ["ids", "mask"]
    assert [item.name for item in session.get_outputs()] == ["states", "scores"]
    ids, mask = torch.randint(0, 20, (3, 9)), torch.rand(3, 9) + 0.1
    wanted = module(ids, mask=mask)
    found = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})
    for name, value in zip(("states", "scores"), found, strict=True):
        np.testing.assert_allclose(value, wanted[name].detach(), atol=1e-5)


def test_a_recurrent_network_of_fixed_sizes(tmp_path: Path) -> None:
    torch.manual_seed(2)
    module, x = Recurrent(), torch.randn(2, 4, 6)
    session = read(save(tmp_path / "lstm.pt2", module, (x,)), tmp_path / "out", outputs=["last"])
    assert session.get_inputs()[0].shape == [2, 4, 6]
    np.testing.assert_allclose(session.run(["last"], {"x": x.numpy()})[0], module(x).detach(), atol=1e-5)


def test_nodes_are_named_after_the_modules(honest: Path, tmp_path: Path) -> None:
    import onnx

    read(honest, tmp_path / "out")
    names = {node.name.partition("/")[0] for node in onnx.load(tmp_path / "out/model.onnx").graph.node}
    assert {"conv", "head"} <= names


class Runs:
    """Unpickled, it leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def changed(path: Path, to: Path, members: dict[str, Callable[[bytes], bytes]], more: dict[str, bytes]) -> Path:
    """A copy in which some members are others."""
    writer = torch._C.PyTorchFileWriter(str(to))
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if name in (".data/version", ".data/serialization_id", "version", "byteorder"):
                continue
            data = members.get(name, lambda data: data)(archive.read(info))
            writer.write_record(name, data, len(data))
    for name, data in more.items():
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return to


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def edited(data: bytes) -> bytes:
        text = json.loads(data)
        change(text)
        return json.dumps(text).encode()

    return edited


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _weights_as_pickle(text: dict[str, Any]) -> None:
    text["config"]["head.bias"]["use_pickle"] = True  # all else is as of a tensor


def _size_as_code(canary: Path) -> Callable[[dict[str, Any]], None]:
    def change(text: dict[str, Any]) -> None:
        sizes = text["graph_module"]["graph"]["tensor_values"]["image"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(canary)!r}) or 2"

    return change


def _guards(canary: Path) -> Callable[[dict[str, Any]], None]:
    def change(text: dict[str, Any]) -> None:
        text["guards_code"] = [f"__import__('os').mkdir({str(canary)!r}) is None"]

    return change


def _call(target: str) -> Callable[[dict[str, Any]], None]:
    def change(text: dict[str, Any]) -> None:
        text["graph_module"]["graph"]["nodes"][0]["target"] = target

    return change


def _tree(spec: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(text: dict[str, Any]) -> None:
        text["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, spec])

    return change


LEAF = {"type": None, "context": None, "children_spec": []}
ENUM = '[{"__enum__": true, "fqn": "this:s"}]'
DEFAULT = json.dumps({"default_factory_module": "this", "default_factory_name": "s", "dict_context": "[]"})
MODEL, WEIGHTS, EXAMPLES = "models/model.json", "data/weights/model_weights_config.json", "data/sample_inputs/model.pt"


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("weights", "holds 'head.bias' as a pickle, which is never read"),
        ("examples", "example inputs cannot be read safely"),
        ("size", "has a size that is no arithmetic of sizes"),
    ],
)
def test_code_that_torch_would_run_is_refused(attack: str, said: str, honest: Path, tmp_path: Path) -> None:
    canary, evil = tmp_path / "canary", pickled(Runs(tmp_path / "canary"))
    with zipfile.ZipFile(honest) as archive:
        root = archive.namelist()[0].partition("/")[0]
        bias = json.loads(archive.read(f"{root}/{WEIGHTS}"))["config"]["head.bias"]["path_name"]
    members: dict[str, Callable[[bytes], bytes]] = {
        "weights": {WEIGHTS: edit(_weights_as_pickle), f"data/weights/{bias}": lambda data: evil},
        "examples": {EXAMPLES: lambda data: evil},
        "size": {MODEL: edit(_size_as_code(canary))},
    }[attack]
    path = changed(honest, tmp_path / "evil.pt2", members, {})
    with pytest.raises(UserError, match=said):
        read(path, tmp_path / "out")
    assert not canary.exists()
    with contextlib.suppress(Exception):  # what it says of the rest does not matter
        torch.export.load(path)
    assert canary.exists(), "torch itself does not run it: this is no attack"


def test_guards_are_not_run(honest: Path, tmp_path: Path) -> None:
    """They are Python, which the module of a program runs. The model is read without them."""
    canary = tmp_path / "canary"
    path = changed(honest, tmp_path / "guarded.pt2", {MODEL: edit(_guards(canary))}, {})
    session = read(path, tmp_path / "out")
    assert not canary.exists()
    assert session.run(None, {"image": np.zeros((2, 1, 8, 8), np.float32)})[0].shape == (2, 5)
    torch.export.load(path).module()(torch.zeros(2, 1, 8, 8))
    assert canary.exists(), "torch itself does not run them: this is no attack"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_call("torch.hub.load"), "calls 'torch.hub.load', which is no operator"),
        (_call("torch.ops.aten.from_file.default"), "calls 'torch.ops.aten.from_file.default'"),
        (_call("_operator.methodcaller"), "calls '_operator.methodcaller'"),
        (_call("math.__loader__.load_module"), "calls 'math.__loader__"),
        (_tree({"type": "collections.defaultdict", "context": DEFAULT, "children_spec": [LEAF]}), "takes or returns"),
        (
            _tree({"type": "builtins.dict", "context": '[{"__enum__": "x"}]', "children_spec": [LEAF]}),
            "takes or returns",
        ),
    ],
)
def test_what_it_would_import_or_call_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, honest: Path, tmp_path: Path
) -> None:
    path = changed(honest, tmp_path / "evil.pt2", {MODEL: edit(change)}, {})
    with pytest.raises(UserError, match=said):
        read(path, tmp_path / "out")


@pytest.mark.parametrize(
    "size",
    [
        "Pow(Integer(9), Integer(999999999))",
        "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
        "9**9**9",
        "open('x')",
        "Symbol('s77').__class__",
        "(lambda: 2)()",
        "Symbol('x' * 3)",
        "Max(" * 300 + "1" + ")" * 300,
    ],
)
def test_a_size_is_arithmetic(size: str) -> None:
    from cbuild_torch.to_onnx.archive import _expression, _RefusedError

    with pytest.raises(_RefusedError):
        _expression(size)


def test_sizes_as_torch_writes_them_are() -> None:
    from cbuild_torch.to_onnx.archive import _expression

    for size in (
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s77', positive=True, integer=True))",
        "Add(Integer(-1), Pow(Symbol('u0', integer=True), Integer(2)))",
        "FloorDiv(Symbol('s3', integer=True), Integer(2))",
    ):
        _expression(size)


def test_members_that_a_graph_does_not_need(honest: Path, tmp_path: Path) -> None:
    for name, said in (("data/aotinductor/model/m.so", "holds compiled code"), ("extra/x", "does not need")):
        path = changed(honest, tmp_path / "more.pt2", {}, {name: b"\x7fELF"})
        with pytest.raises(UserError, match=said):
            read(path, tmp_path / "out")


def test_files_that_are_none(honest: Path, tmp_path: Path) -> None:
    data = honest.read_bytes()
    for wrong in (b"", b"text", data[: len(data) // 2], data[:-30]):
        path = tmp_path / "wrong.pt2"
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=r"is not a file of torch\.export\.save, or is cut|holds no graph"):
            read(path, tmp_path / "out")
    packed = tmp_path / "packed.pt2"
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    with pytest.raises(UserError, match="is compressed, which"):
        read(packed, tmp_path / "out")
    state = tmp_path / "state.pt2"
    torch.save(Net().state_dict(), state)
    with pytest.raises(UserError, match="holds no graph as torch"):
        read(state, tmp_path / "out")


def test_it_takes_the_strictest_sandbox(honest: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(honest.read_bytes())
    (tmp_path / "Compressfile").write_text(
        "version: 1\nmodels: {net: {exported: net.pt2}, other: {file: other.onnx}}\n"
        "targets: {a: {from: net, steps: [optimize.onnx]}, b: {from: other, steps: [optimize.onnx]}}\n"
    )
    (tmp_path / "other.onnx").write_bytes(b"")
    nodes = Project(tmp_path / "Compressfile").graph.nodes
    assert {node.name for node in nodes if node.isolate} == {"source.exported"}
