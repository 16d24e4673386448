from __future__ import annotations

from pathlib import Path


def test_one_after_another_they_make_the_same_bytes_in_another_process(python, tmp_path):
    """Another directory and another hash seed; each edits the structure that the one before it left."""
    made = []
    for number in (0, 1):
        place = tmp_path / f"{'deeper/' * number}place"
        place.mkdir(parents=True)
        said = python(Path(__file__).with_name("repeat_pruning.py"), place, cwd=tmp_path, hash_seed=number)
        made.append([line for line in said.splitlines() if line.startswith("made ")])
    assert len(made[0]) == 2 * 10
    assert made[0] == made[1]
