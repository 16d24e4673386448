"""Options of an address: ``ray://head:10001?cpus=4&gpus=1&accelerator=A100``."""

from typing import Annotated

from compressbuild.api import Count, Meta, Params, Positive


class Ray(Params):
    """Workers on a Ray cluster, each with an agent, for as long as a build lasts."""

    workers: Annotated[
        Positive, Meta(description="how many workers, each with the resources below, wherever Ray puts them")
    ] = 1
    cpus: Annotated[Positive, Meta(description="CPUs of each worker: its steps use no more together")] = 1
    memory: Annotated[
        str,
        Meta(
            pattern=r"^\d+(\.\d+)?([kKMGT]i?)?B?$",
            description="memory that Ray reserves for each worker: 8G, 500MB. Empty: none is reserved",
        ),
    ] = "0"
    gpus: Annotated[Count, Meta(description="GPUs of each worker")] = 0
    accelerator: Annotated[
        str, Meta(description="a type of accelerator that its node must have, by Ray's name: A100")
    ] = ""
    custom: Annotated[
        str,
        Meta(
            pattern=r"^([^:,\s]+:\d+(\.\d+)?(,[^:,\s]+:\d+(\.\d+)?)*)?$",
            description="amounts of resources that the cluster's owner defined: edge:1,license:0.5",
        ),
    ] = ""
    node: Annotated[str, Meta(description="the node for all of it, by its IP address. Measurements need it")] = ""
    wait: Annotated[
        Count | None,
        Meta(
            description="seconds to wait for room, and for a node that is large enough, which an autoscaler may add. "
            "Without it 120, and none at all if no node is"
        ),
    ] = None
    python: Annotated[
        str, Meta(description="the Python there that has the runtimes of the steps; empty: Ray's own")
    ] = ""
