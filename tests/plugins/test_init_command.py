"""cbuild init on real models: what it says of each, and that what it writes plans at once, and builds."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_models as models
import pytest
from command import CBUILD, Warm, Work
from PIL import Image
from sklearn.datasets import load_digits

NETS = """\
import torch
from torch import nn


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10),
    )


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer, self.head = kind(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def lstm():
    return Recurrent(nn.LSTM)


def gru():
    return Recurrent(nn.GRU)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(64, 10))


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.rest = Recurrent(nn.LSTM)
        self.conv = nn.Sequential(nn.Conv1d(8, 32, 9, padding=4), nn.Conv1d(32, 8, 9, padding=4))

    def forward(self, x):
        return self.rest(self.conv(x))


def photo():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 2))


def broken():
    raise RuntimeError("no such weights")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    work = Warm(tmp_path_factory.mktemp("init") / "project")
    work.write("nets.py", NETS)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    np.savez(work.root / "digits.npz", image=images[:, None], label=digits.target)
    np.savez(work.root / "rows.npz", x=images, label=digits.target)
    np.savez(work.root / "bare.npz", x=images)
    onnx.save(models.cnn(), work.root / "model.onnx")
    yield work
    work.close()


def write(work: Work, *words: str, file: str = "made") -> str:
    """The file that it writes, which plans."""
    ran = work("init", *words, "-f", file, "--force")
    assert f"next: cbuild -n all -f {file}" in ran.out
    work("-n", "all", "-f", file)
    return (work.root / file).read_text()


def targets(text: str) -> list[str]:
    return re.findall(r"^  ([\w.-]+):", text[text.index("\ntargets:") :], re.MULTILINE)


def test_it_says_where_the_time_is(place: Warm) -> None:
    """By the profiler of the reference runtime: ONNX Runtime names layers, torch only operators."""
    graph = place("init", "model.onnx", "-f", "timed", "--force").out
    time = next(line for line in graph.splitlines() if line.startswith("time: "))
    assert re.fullmatch(r"time: [\d.]+ ms a sample here \(onnxruntime [\d.]+\): Conv \d+%, .*", time), graph
    layers = graph[graph.index(time) :].splitlines()[1:4]
    assert all(re.fullmatch(r" +\d+ %  \S+  \w+", line) for line in layers), graph
    module = place("init", "nets:mlp", "--data", "rows.npz", "-f", "timed", "--force").out
    assert re.search(r"^time: [\d.]+ ms a sample here \(torch.*\): aten::addmm \d+%", module, re.MULTILINE), module
    assert "recipes for goal" in module.split("time: ")[1].splitlines()[1], "no layers where they are not told apart"


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("cnn", "a CNN, 14,762 parameters, 59.0 kB"),
        ("lstm", "an RNN, 5,706 parameters"),
        ("gru", "an RNN, 4,362 parameters"),
        ("mlp", "an MLP, 4,810 parameters"),
        ("encoder", "a transformer encoder, "),
        ("Both", "a mix of layers, "),
    ],
)
def test_the_family_of_a_factory(place: Warm, factory: str, said: str) -> None:
    data = "digits.npz" if factory == "cnn" else "rows.npz"
    text = write(place, f"nets:{factory}", "--data", data)
    assert text.startswith(f"# nets: {said}")
    assert "multiply-accumulates a sample" in text
    assert len(targets(text)) >= 4  # exported, the baseline, two recipes


def test_an_onnx_file_builds(place: Warm) -> None:
    text = write(place, "model.onnx", "--data", "digits.npz")
    assert text.startswith(f"# net: a CNN, {models.cnn_parameters():,} parameters")
    assert targets(text) == ["fp32", "static-int8", "weights-int8-conv"]
    assert "data: {npz: digits.npz, labels: label, split: {calibration: 0.2}}" in text
    ran = place.json("all", "-f", "made", code=None)
    assert not ran.failures
    assert set(ran.targets) == set(targets(text))
    assert ran.targets["static-int8"].metrics.keys() == {"top1", "latency", "size"}


@pytest.mark.parametrize("name", ["fp32", "list", "static-int8", "init", "2"])
def test_a_model_does_not_take_the_name_of_a_target_or_command(place: Warm, name: str) -> None:
    shutil.copy(place.root / "model.onnx", place.root / f"{name}.onnx")
    write(place, f"{name}.onnx", "--data", "digits.npz")


def test_a_folder_of_images_builds(place: Warm) -> None:
    generator = np.random.default_rng(0)
    for label, brightness in (("dark", 0), ("light", 128)):
        (place.root / "photos" / label).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(brightness, brightness + 128, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(place.root / "photos" / label / f"{number}.png")
    text = write(place, "nets:photo", "--data", "photos", "--input", "image=batch,3,16,16", "--train")
    assert "images: photos, size: 16, divide: 255" in text
    assert targets(text)[:4] == ["trained", "exported", "fp32", "static-int8"]
    ran = place.json("static-int8", "-f", "made", "--set", "evaluate.metrics=[top1, size]", code=None)
    assert not ran.failures  # trained, calibrated and evaluated on parts of the folder
    assert ran.targets["static-int8"].metrics.keys() == {"top1", "size"}


def test_a_factory_that_is_trained_first_builds_and_holds(place: Warm) -> None:
    text = write(place, "nets:cnn", "--data", "digits.npz", "--train", "--goal", "size")
    assert targets(text) == ["trained", "exported", "fp32", "static-int8", "slim-int8", "weights-int8-conv"]
    assert "distill: {teacher: trained, data: data.train" in text
    assert "latency: {max-ratio" not in text  # speed is not the goal
    ran = place.json("all", "-f", "made", "--set", "evaluate.metrics=[top1, size]")  # its gates hold
    assert ran.targets["fp32"].metrics["top1"] > 0.8
    assert ran.targets["slim-int8"].metrics["size"] < 0.4 * ran.targets["fp32"].metrics["size"]
    assert "max-ratio: 0.9" in write(place, "nets:cnn", "--data", "digits.npz", "--goal", "latency")


def test_an_lstm_builds(place: Warm) -> None:
    text = write(place, "nets:lstm", "--data", "rows.npz")
    assert targets(text) == ["exported", "fp32", "dynamic-int8-lstm", "weights-int8-recurrent", "slim-recurrent"]
    ran = place.json("all", "-f", "made", "--set", "evaluate.metrics=[top1, size]", code=None)
    assert not ran.failures


def filled(text: str) -> str:
    """As a person does it: '# ' removed where the file says so."""
    lines, filling = [], False
    for line in text.splitlines():
        filling = line.strip() != "" and (filling or "TO FILL" in line)
        code = re.match(r"( *)# ((datasets|data|[\w-]+):.*|  +\S.*)$", line)
        wanted = filling or line.strip() == "# data: data" or line.startswith("  #     top1:")
        lines.append(code[1] + code[2] if code and wanted and "TO FILL" not in line else line)
    return "\n".join(lines) + "\n"


def test_without_data_it_plans_and_what_is_to_fill_can_be_filled(place: Warm) -> None:
    text = write(place, "model.onnx")
    assert targets(text) == ["fp32", "weights-int8-conv"]
    assert "TO FILL" in text
    place.write("made", filled(text).replace("data.npz", "digits.npz"))
    place("-n", "all", "-f", "made")
    assert targets((place.root / "made").read_text()) == ["fp32", "static-int8", "weights-int8-conv"]
    ran = place.json("all", "-f", "made", code=None)
    assert not ran.failures
    assert "top1" in ran.targets["static-int8"].metrics


def test_data_without_labels(place: Warm) -> None:
    text = write(place, "nets:mlp", "--data", "bare.npz")
    assert "metrics: [cosine, latency, size]" in text
    assert "cosine: {min: 0.98}" in text
    text = write(place, "nets:lstm", "--data", "bare.npz")
    assert "  # slim-recurrent:" in text  # a training needs labels


def test_pixels_are_scaled(place: Warm) -> None:
    np.savez(place.root / "bytes.npz", x=np.zeros((4, 1, 8, 8), np.uint8), y=np.zeros(4, np.int64))
    text = write(place, "nets:cnn", "--data", "bytes.npz")
    assert "labels: y, divide: 255" in text
    assert "{x: {shape: [batch, 1, 8, 8], dtype: float32}}" in text
    assert "# CHECK: pixels are divided by 255" in text


def test_an_engine_for_a_gpu_that_is_elsewhere(place: Warm) -> None:
    text = place("init", "model.onnx", "--data", "digits.npz", "--platform", "rtx-ada", "-f", "-").out
    assert targets(text) == ["fp32", "fp16", "static-int8"]
    assert "platforms:" not in text
    assert "platform: rtx-ada" in text


def test_the_file_may_lie_elsewhere(place: Warm) -> None:
    """Paths of the command line start here, those of the file at the file."""
    onnx.save(models.cnn(), place.write("below/only.onnx", b""))
    place("init", "-f", "below/Compressfile", "--data", "below/data.npz", code=2)
    place("init", "-f", "below/Compressfile")  # the only model there
    assert "    file: only.onnx" in (place.root / "below/Compressfile").read_text()
    place("-n", "all", "-f", "below/Compressfile")
    assert "lies outside" in place("init", "model.onnx", "-f", "below/other", code=2).err


def test_inputs_that_do_not_fit_are_noted(place: Warm) -> None:
    ran = place("init", "nets:mlp", "--input", "x=batch,3", "-f", "made", "--force")
    assert "note: a first run of the model failed" in ran.err
    assert "4,810 parameters" in ran.out


def test_another_family_on_request(place: Warm) -> None:
    assert "dynamic-int8" in targets(write(place, "model.onnx", "--family", "transformer-encoder"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Directories as transformers saves them; the decoder has one of its own around it."""
    transformers = pytest.importorskip("transformers", reason="the models are those of transformers")
    from saved_models import text_model, vision_model

    work = Warm(tmp_path_factory.mktemp("hub") / "project")
    text_model("BertForSequenceClassification", work.root / "encoder")
    vision_model(work.root / "vit")
    config = transformers.GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2,
                                     bos_token_id=0, eos_token_id=0)  # fmt: skip
    transformers.GPT2LMHeadModel(config).eval().save_pretrained(work.root / "alone/decoder")
    work.write("texts.csv", "text,label\n" + "good film,1\nbad film,0\n" * 20)
    yield work
    work.close()


def test_an_encoder_of_hugging_face(hub: Warm) -> None:
    text = write(hub, "encoder", "--data", "texts.csv")
    assert text.startswith("# encoder: a transformer encoder, ")
    assert targets(text) == ["exported", "fp32", "dynamic-int8", "dynamic-int8-embeddings", "smooth-int8"]
    assert "{csv: texts.csv, text: text, labels: label, tokenizer: encoder, length: 64, " in text


def test_a_part_judges_where_all_rows_take_long(place: Warm) -> None:
    np.savez(place.root / "bytes.npz", x=np.zeros((4, 1, 8, 8), np.uint8))
    np.savez_compressed(place.root / "many.npz", x=np.zeros((2000, 1, 224, 224), np.uint8))
    text = write(place, "nets:cnn", "--data", "many.npz")
    assert "split: {calibration: 200, test: 419}" in text, (
        "476.9 M multiply-accumulates a sample, 200 G are ten seconds"
    )
    assert "  data: data.test\n" in text
    assert "  # parts that share no row: data.calibration, data.test\n" in text
    assert "  data: data\n" in write(place, "nets:cnn", "--data", "bytes.npz")
    np.savez(place.root / "some.npz", x=np.zeros((400, 1, 8, 8), np.uint8))
    assert "split: {calibration: 100}" in write(place, "nets:cnn", "--data", "some.npz"), "a fifth is too little"


@pytest.mark.slow
def test_an_encoder_of_hugging_face_builds(hub: Warm) -> None:
    write(hub, "encoder", "--data", "texts.csv")
    assert not hub.json("all", "-f", "made", code=None).failures


def test_a_vision_transformer_of_hugging_face(hub: Warm) -> None:
    text = write(hub, "vit")
    assert text.startswith("# vit: a transformer encoder, ")
    assert "{images: photos, processor: vit, " in text


def test_a_decoder(hub: Warm) -> None:
    text = write(hub, file="alone/Compressfile")  # the only model there
    assert text.startswith("# decoder: a transformer decoder, ")
    assert targets(text) == ["exported", "fp32", "dynamic-int8", "weights-int4"]
    assert "# gptq-int4:" in text


def test_a_factory_that_fails_is_an_error_with_its_cause(place: Warm) -> None:
    ran = place("init", "nets:broken", "--data", "rows.npz", "-f", "never", code=1)
    assert "no such weights" in ran.err
    assert "error: the model could not be inspected" in ran.err
    assert not (place.root / "never").exists()


def test_it_asks_on_a_terminal_for_what_is_missing(place: Warm) -> None:
    main, theirs = pty.openpty()
    asked = subprocess.Popen(
        [CBUILD, "init", "nets:mlp", "-f", "asked"], cwd=place.root, env=place.environment(),
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(main, b"\nx=batch,8,8\n")
    seen = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    out, _ = asked.communicate(timeout=120)
    os.close(main)
    assert asked.returncode == 0, seen
    assert b"Data (" in seen
    assert b"Input of the model" in seen
    assert "wrote asked" in out
    assert "inputs: {x: {shape: [batch, 8, 8]}}" in (place.root / "asked").read_text()


def test_with_standard_input_closed_nothing_is_asked(place: Warm) -> None:
    ran = subprocess.run(
        ["sh", "-c", 'exec "$0" init nets:mlp -f - <&-', CBUILD],
        cwd=place.root, env=place.environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: the inputs of 'nets:mlp' are not known\n")


def test_the_engine_loads_no_model_library(place: Warm) -> None:
    code = "import sys; from compressbuild.cli.main import main; main(sys.argv[1:]); " \
           "print(sorted({'torch', 'onnx', 'numpy', 'nets'} & set(sys.modules)))"  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", code, "init", "nets:mlp", "--data", "rows.npz", "-f", "-"],
        cwd=place.root, env=place.environment(), text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1] == "[]"
