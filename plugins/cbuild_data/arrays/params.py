"""Keys of datasets that are arrays."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FileRef, Meta

from ..params import Scaled

__all__ = ["Npy", "Npz"]


class Npz(Scaled, kw_only=True):
    """Named arrays of one .npz file, with a row for each sample: inputs by their names, and labels."""

    npz: Annotated[FileRef, Meta(description="a .npz file, as `numpy.savez` writes it")]
    inputs: Annotated[
        dict[str, str],
        Meta(
            description="input of the model → array of the file; by default every array but the labels, by its own "
            "name; a single one serves a model of one input whatever it is called"
        ),
    ] = {}
    labels: Annotated[str | None, Meta(description="array of the labels; without it there are none")] = None


class Npy(Scaled, kw_only=True):
    """Arrays, each in a .npy file of its own, with a row for each sample."""

    npy: Annotated[
        FileRef | dict[str, FileRef],
        Meta(description="a .npy file, as `numpy.save` writes it; or input of the model → .npy file"),
    ]
    labels: Annotated[FileRef | None, Meta(description="a .npy file of the labels; without it there are none")] = None
