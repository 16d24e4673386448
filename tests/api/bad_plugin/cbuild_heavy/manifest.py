"""A manifest that imports what only its function needs, and a record without a docstring for its parameters."""

from typing import Annotated

import safetensors
import yaml

from compressbuild.api import Meta, Params, Technique, hookimpl


class Silent(Params):
    factor: int = len(safetensors.__version__) and len(yaml.__version__)


class Heavy(Params):
    """Parameters."""

    factor: Annotated[int, Meta(ge=1)] = 1


@hookimpl
def compressbuild_techniques():
    yield Technique(name="heavy.manifest", run="cbuild_bad.work:good", params=Heavy, consumes=("bad-text",))
    yield Technique(name="heavy.silent", run="cbuild_bad.work:good", params=Silent, consumes=("bad-text",))
    yield Technique(name="heavy.lost", run="cbuild_bad.work:nowhere", params=Heavy, consumes=("bad-text",))
