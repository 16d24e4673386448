from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def test_quantization_and_sharing_make_the_same_bytes_in_another_process_and_directory(python, tmp_path):
    """Two processes, two directories, two hash seeds; run at once, so also under contention."""

    def run(number: int) -> list[str]:
        place = tmp_path / f"{'deeply/nested/' * number}place{number}"
        place.mkdir(parents=True)
        said = python(Path(__file__).with_name("pipeline_quantize.py"), place, cwd=tmp_path, hash_seed=number + 1)
        return [line for line in said.splitlines() if " " in line and len(line.rpartition(" ")[2]) == 64]

    with ThreadPoolExecutor() as pool:
        first, second = pool.map(run, (0, 1))
    assert len(first) == 2 * 6 + 2 + 2 + 1 + 4 + 1 + 1  # torch models have two files each, ONNX models one
    assert first == second
