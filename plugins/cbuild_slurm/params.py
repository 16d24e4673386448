"""Options of an address: what the allocation asks for, in Slurm's own words."""

from typing import Annotated

from compressbuild.api import Meta, Params

_WORD = r"^[!-~]*$"  # printable, and no space


class Slurm(Params):
    """One node of a Slurm cluster, for as long as the build takes."""

    cpus: Annotated[int, Meta(ge=1, description="CPUs; so many steps of one thread run there at once")] = 1
    mem: Annotated[
        str, Meta(pattern=r"^(\d+[KMGT]?)?$", description="memory, as `8G`; empty: what the partition gives")
    ] = ""
    gres: Annotated[str, Meta(pattern=_WORD, description="generic resources, as `gpu:1` or `gpu:a100:2`")] = ""
    time: Annotated[
        str,
        Meta(
            pattern=r"^((\d+-)?\d+(:\d+){0,2})?$",
            description="time limit of the allocation: minutes, `1:30:00` or `2-12`; empty: what the partition gives",
        ),
    ] = ""
    account: Annotated[str, Meta(pattern=_WORD, description="account to charge")] = ""
    qos: Annotated[str, Meta(pattern=_WORD, description="quality of service")] = ""
    reservation: Annotated[str, Meta(pattern=_WORD, description="reservation to take the node from")] = ""
    constraint: Annotated[
        str, Meta(pattern=_WORD, description="features that the node must have; `&` is written `%26`")
    ] = ""
    node: Annotated[str, Meta(pattern=_WORD, description="the node to run on; empty: any of the partition")] = ""
    exclusive: Annotated[bool, Meta(description="the node holds no other job, so a latency is measured alone")] = False
    wait: Annotated[float, Meta(ge=0, description="minutes to wait in the queue at most; 0: as long as it takes")] = 0.0
    name: Annotated[str, Meta(pattern=r"^[!-~]+$", description="name of the job, which `squeue` shows")] = "cbuild"
    python: Annotated[str, Meta(min_length=1, description="the Python there that has the runtimes of the nodes")] = (
        "python3"
    )
