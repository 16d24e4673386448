"""Random DAGs and random edits, against an oracle of constructive traces: only actions whose inputs are new run."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from toyproject import Toy


class Model:
    """A random project, and what each target's value must be."""

    def __init__(self, rng: random.Random, nodes: int) -> None:
        self.rng = rng
        self.files = {f"f{i}": str(rng.randrange(50)) for i in range(rng.randint(1, 4))}
        self.steps: dict[str, dict] = {}
        names = list(self.files)
        for i in range(nodes):
            others = rng.sample(names, k=min(len(names), rng.choice((0, 0, 1, 2))))
            self.steps[f"t{i}"] = {
                "from": rng.choice(names),
                "salt": rng.randrange(3),
                "others": others,
                "modulus": rng.choice((2, 3, 1000)),
            }
            names.append(f"t{i}")
        self.known: set[tuple] = set()  # actions that have run: (salt, modulus, inputs)

    def text(self) -> str:
        lines = ["version: 1", "models:"]
        lines += [f"  {name}: {{file: {name}.txt}}" for name in self.files]
        lines.append("targets:")
        for name, step in self.steps.items():
            others = ", ".join(step["others"])
            lines.append(f"  {name}:\n    from: {step['from']}")
            lines.append(
                f"    steps: [toy.mix: {{salt: {step['salt']}, modulus: {step['modulus']}, others: [{others}]}}]"
            )
        return "\n".join(lines) + "\n"

    def write(self, toy: Toy) -> None:
        toy.write("Compressfile", self.text())
        for name, value in self.files.items():
            toy.write(f"{name}.txt", value)

    def edit(self) -> None:
        rng = self.rng
        if rng.random() < 0.5:
            name = rng.choice(list(self.files))
            self.files[name] = str(rng.randrange(50))
        else:
            step = self.steps[rng.choice(list(self.steps))]
            step[rng.choice(("salt", "modulus"))] = rng.choice((2, 3, 1000))

    def expect(self, wanted: set[str]) -> tuple[dict[str, str], int]:
        """(value of every target, number of actions that have to run for ``wanted``)."""
        needed = set(wanted)
        for name in reversed(self.steps):
            if name in needed:
                needed |= {self.steps[name]["from"], *self.steps[name]["others"]}
        values, new = dict(self.files), set()
        for name, step in self.steps.items():
            inputs = [values[step["from"]], *(values[o] for o in step["others"])]
            total = step["salt"] + sum(map(ord, inputs[0]))
            for other in inputs[1:]:
                total = total * 31 + sum(map(ord, other))
            values[name] = str(total % step["modulus"])
            # Roles of inputs are part of the key; artifacts made from files differ from equal ones made by steps.
            kinds = tuple(
                (v, o in self.files and o) for v, o in zip(inputs, [step["from"], *step["others"]], strict=True)
            )
            action = (step["salt"], step["modulus"], kinds)
            if name in needed and action not in self.known:
                new.add(action)
        self.known |= new
        return values, len(new)


@pytest.mark.parametrize("seed", range(25))
def test_runs_the_minimal_set(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    model = Model(rng, nodes=rng.randint(1, 26))
    toy = Toy(tmp_path / "project")
    for _ in range(5):
        model.write(toy)
        wanted = set(rng.sample(list(model.steps), k=rng.randint(1, len(model.steps))))
        values, new = model.expect(wanted)
        report, ran = toy.build(*sorted(wanted))
        assert report.exit_code == 0
        assert len(ran) == new, f"seed {seed}: ran {ran}"
        for target in wanted:
            assert toy.value(target) == values[target]
        assert toy.build(*sorted(wanted))[1] == []
        model.edit()
