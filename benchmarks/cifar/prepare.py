"""Put the benchmark's data where its Compressfile looks for it: ``data/``, which git ignores.

    python benchmarks/cifar/prepare.py --data DIR

``DIR`` (default: the environment variable ``CBUILD_DATA``) has, itself or in ``cifar10/``, ``train.npz`` and
``test.npz`` (``images``: uint8 N×3×32×32, ``labels``: int64 N) and ``resnet20.safetensors``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

NAMES = ("train.npz", "test.npz", "resnet20.safetensors")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CBUILD_DATA"), help="directory with the data")
    parser.add_argument("--copy", action="store_true", help="copy the files instead of linking to them")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the data is: --data DIR, or set CBUILD_DATA")
    places = [place for place in (arguments.data, arguments.data / "cifar10") if (place / NAMES[0]).is_file()]
    if not places:
        parser.error(f"'{arguments.data}' has no {NAMES[0]}, nor has its folder cifar10")
    missing = [name for name in NAMES if not (places[0] / name).is_file()]
    if missing:
        parser.error(f"'{places[0]}' has no {', '.join(missing)}")
    target = Path(__file__).parent / "data"
    target.mkdir(exist_ok=True)
    for name in NAMES:
        file = target / name
        file.unlink(missing_ok=True)
        if arguments.copy:
            shutil.copyfile(places[0] / name, file)
        else:
            file.symlink_to((places[0] / name).resolve())
    print(f"{'copied' if arguments.copy else 'linked'} {len(NAMES)} files into {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
