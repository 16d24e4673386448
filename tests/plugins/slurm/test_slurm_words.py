"""What Slurm says is understood: without a cluster, on texts of real ones."""

from __future__ import annotations

import base64
import re
import subprocess
import sys

import pytest
from cbuild_slurm import job as module
from cbuild_slurm.machine import open_machine
from cbuild_slurm.params import Slurm
from cbuild_slurm.words import hint, last_word

from compressbuild.api import UserError


@pytest.mark.parametrize(
    ("said", "word", "step"),
    [
        (
            "srun: error: invalid partition specified: nowhere\n"
            "srun: error: Unable to allocate resources: Invalid partition name specified\n",
            "Unable to allocate resources: Invalid partition name specified",
            "sinfo -s",
        ),
        (
            "srun: Force Terminated job 12\nsrun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n"
            "slurmstepd: error: *** STEP 12.0 ON n1 CANCELLED AT 2026-11-30T00:01:02 DUE TO TIME LIMIT ***\n",
            "STEP 12.0 ON n1 CANCELLED AT 2026-11-30T00:01:02 DUE TO TIME LIMIT",
            "ask for more 'time'",
        ),
        ("it went wrong\nsrun: error: n1: task 0: Exited with exit code 1\n", "it went wrong", None),
        ("srun: error: n1: task 0: Killed\n", "n1: task 0: Killed", None),
        (
            "slurmstepd: error: execve(): /no/python: No such file or directory\n"
            "srun: error: n1: task 0: Exited with exit code 2\n",
            "execve(): /no/python: No such file or directory",
            "must be a Python on the node",
        ),
        ("", "", None),
    ],
)
def test_the_last_word(said: str, word: str, step: str | None) -> None:
    assert last_word(said) == word
    found = hint(word)
    assert found is None if step is None else found is not None and step in found


@pytest.mark.parametrize("address", ["slurm://a b", "slurm://x/y", "slurm://a;b", "slurm://x:1"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError):
        open_machine(address, Slurm())


def test_what_srun_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One job of its own, also from within a job; no credential; no variable that would change the stream."""
    seen: dict[str, object] = {}

    class Seen:
        def __init__(self, command: list[str], environment: dict[str, str], token: str, patience: float) -> None:
            seen.update(command=command, environment=environment, token=token, patience=patience)

    monkeypatch.setattr("cbuild_slurm.machine.Job", Seen)
    for name in ("SLURM_JOB_ID", "SLURM_LABELIO", "SLURM_CONF", "SLURM_ACCOUNT", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    options = Slurm(cpus=3, mem="2G", gres="gpu:1", time="5", constraint="a&b", exclusive=True, wait=2.0)
    open_machine("slurm://gpu", options).start("print('the program')")
    command, environment = seen["command"], seen["environment"]
    assert isinstance(command, list)
    assert isinstance(environment, dict)
    assert {name for name in environment if name.startswith("SLURM_")} == {"SLURM_CONF", "SLURM_ACCOUNT"}
    own = {"--partition=gpu", "--cpus-per-task=3", "--mem=2G", "--gres=gpu:1", "--time=5", "--constraint=a&b"}
    assert own | {"--exclusive", "--nodes=1", "--ntasks=1", f"--comment={seen['token']}"} <= set(command)
    (export,) = (word for word in command if word.startswith("--export="))
    assert "AWS" not in export
    assert "ALL" not in export
    assert seen["patience"] == 120.0
    text = base64.b64decode(re.findall(r"b64decode\('([^']*)'\)", command[-1])[0]).decode()
    environment = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_CPUS_ON_NODE": "3"}
    text += "\nprint(os.environ['CBUILD_NODE'], os.environ['CBUILD_CPUS'], os.environ['CBUILD_MEMORY'])"
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{module.MARK.decode()} 7 n1\nthe program\nn1 3 2147483648\n"
