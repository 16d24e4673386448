"""Parameters of ``replace.activation``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params

__all__ = ["ReplaceActivation"]


class ReplaceActivation(Params):
    """Replace activations by ones that are cheaper or that the hardware can fuse; a finetune recovers what is lost."""

    map: Annotated[
        dict[str, str],
        Meta(
            min_length=1,
            description="class of the activation, torch.nn's or the model's own → class of torch.nn that replaces it, "
            "as `{GELU: ReLU}`",
        ),
    ]
    ignore: Annotated[tuple[str, ...], Meta(description="globs of layers left alone")] = ()
