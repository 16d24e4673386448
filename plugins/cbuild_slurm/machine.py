"""One job of a Slurm cluster: ``srun`` asks for the node, waits in the queue, runs the program and carries its streams.

The job is this one ``srun``, so it ends when the program does. There is no batch script that could outlive the build,
and a node costs no job: the agent that is the program runs as many nodes as the allocation has CPUs.
"""

from __future__ import annotations

import base64
import os
import re
import secrets

from compressbuild.api import Link, Machine, UserError

from .job import MARK, Job
from .params import Slurm

__all__ = ["SlurmMachine", "open_machine"]

_ADDRESS = re.compile(r"slurm://(?P<partition>[\w.,-]*)/?")
_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_ACCOUNT", "SLURM_QOS", "SLURM_RESERVATION"})
"""Variables of Slurm's that ``srun`` may see. Others would change it: SLURM_LABELIO the stream; SLURM_JOB_ID, which
every job has, makes a step of that job instead of a job."""
_SENT = (
    *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "XDG_CACHE_HOME", "PATH", "LD_LIBRARY_PATH", "PYTHONPATH"),
    *("CUDA_HOME", "CUDA_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""Variables that go to the node; ``srun`` would send all, credentials too."""
_HELLO = """
import os
os.environ["CBUILD_NODE"] = os.environ.get("SLURMD_NODENAME", "")
os.environ["CBUILD_CPUS"] = os.environ.get("SLURM_CPUS_ON_NODE", "")
os.environ["CBUILD_MEMORY"] = MEMORY
os.write(1, MARK + b" %s %s\\n" % (os.environb.get(b"SLURM_JOB_ID", b"?"), os.environb.get(b"SLURMD_NODENAME", b"?")))
"""
"""Runs before the program: says that the job runs, and what of the node is its own where the kernel does not."""


def open_machine(address: str, options: Slurm) -> Machine:
    """``address``: ``slurm://[partition]``. UserError for another text."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(f"'{address}' is no address", hint="write slurm://partition?cpus=4&mem=8G&time=1:00:00")
    return SlurmMachine(address, found["partition"], options)


class SlurmMachine:
    """Whatever node Slurm gives."""

    def __init__(self, address: str, partition: str, options: Slurm) -> None:
        self.address = address
        self._options = options
        self._asked = [
            f"--{name}={value}"
            for name, value in (
                ("partition", partition),
                ("mem", options.mem),
                ("gres", options.gres),
                ("time", options.time),
                ("account", options.account),
                ("qos", options.qos),
                ("reservation", options.reservation),
                ("constraint", options.constraint),
                ("nodelist", options.node),
            )
            if value
        ]

    def start(self, program: str) -> Link:
        """The job is known by its comment until it says its number. The program crosses as Base64: it is one word."""
        token = f"cbuild-{secrets.token_hex(8)}"
        text = base64.b64encode(
            f"MARK, MEMORY = {MARK!r}, '{_bytes(self._options.mem)}'\n{_HELLO}\n{program}".encode()
        ).decode()
        command = [
            *("srun", "--nodes=1", "--ntasks=1", f"--cpus-per-task={self._options.cpus}", *self._asked),
            *(("--exclusive",) if self._options.exclusive else ()),
            *(f"--job-name={self._options.name}", f"--comment={token}", f"--export={','.join(_SENT)}"),
            # Unbuffered: else bytes wait for the end of a line. No working directory of here need exist there.
            *("--unbuffered", "--mpi=none", "--kill-on-bad-exit=1", "--chdir=/", "--"),
            *(self._options.python, "-c", f"import base64; exec(base64.b64decode('{text}'))"),
        ]
        return Job(command, _environment(), token, self._options.wait * 60)


def _bytes(mem: str) -> str:
    """Of Slurm's way to write memory, in decimal digits; empty for none and for 0, which is all of the node's."""
    found = re.fullmatch(r"(\d+)([KMGT]?)", mem)
    return "" if found is None or int(found[1]) == 0 else str(int(found[1]) << 10 * (1 + "KMGT".index(found[2] or "M")))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM_") or name in _KEPT}
