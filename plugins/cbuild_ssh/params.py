"""Options of an address: ``user@edge?python=/opt/venv/bin/python``."""

from typing import Annotated

from compressbuild.api import Meta, Params


class Ssh(Params):
    """Another machine, reached by the system's ssh."""

    python: Annotated[str, Meta(min_length=1, description="the Python there that has the runtimes of the nodes")] = (
        "python3"
    )
