"""Runs a package of native code, on the device that it was compiled for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cbuild_torch.model.program import one_line
from torch import Tensor

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import PACKAGE, Package
from .settings import InductorSettings

__all__ = ["PackageRunner", "load", "set_precision"]


def load(ctx: Context, artifact: Path, settings: InductorSettings | None) -> Runner:
    """A Runner of a package, on the device that it was made for; without settings: with one thread."""
    # Loading may compile, into a cache that torch keeps in the machine's temporary directory unless named. Importing
    # torch has settled on one already, so this replaces it.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(ctx.scratch / "loaded")
    return PackageRunner(artifact, settings or InductorSettings())


def set_precision(settings: InductorSettings) -> None:
    """For compiled code, and for cuDNN and cuBLAS, which it calls: by default torch lets cuDNN round."""
    torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = settings.tf32


class PackageRunner:
    """A Runner (see compressbuild.api) on an AOTInductor package. Loading one loads its native code."""

    def __init__(self, artifact: Path, settings: InductorSettings) -> None:
        from torch import _inductor
        from torch._inductor import config

        self._package = Package.read(artifact)
        if self._package.device == "cuda" and not torch.cuda.is_available():
            raise UserError("the package was compiled for a CUDA device, but this torch finds none")
        torch.set_num_threads(settings.threads)
        set_precision(settings)
        try:
            # To compare this processor with the package's, torch would compile a program for each instruction set: half
            # a minute on a server. What the processor says of itself will do.
            with config.patch({"cpp.vec_isa_ok": True}):
                self._call = _inductor.aoti_load_package(str(artifact / PACKAGE))
        except Exception as error:  # the loader raises RuntimeError, OSError and classes of C++ origin
            raise UserError(
                f"torch {torch.__version__} cannot load the package: {one_line(error)}",
                hint=f"it was compiled with torch {self._package.torch}, on a processor of its own instruction set",
            ) from error

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._package.interface.inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        found = self.run(self.tensors(feeds))
        values = (found,) if isinstance(found, Tensor) else tuple(found)
        return {name: value.cpu().numpy() for name, value in zip(self._package.interface.outputs, values, strict=True)}

    def tensors(self, feeds: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """What :meth:`run` takes, on the package's device. The native code does not look at types and sizes: it would
        read past the end of a short array."""
        arrays = self._package.interface.checked(feeds, "the package")
        return tuple(torch.from_numpy(np.ascontiguousarray(a)).to(self._package.device) for a in arrays.values())

    def run(self, values: tuple[Tensor, ...]) -> Any:
        """The native code alone."""
        with torch.no_grad():
            return self._call(*values)

    def describe(self) -> dict[str, Any]:
        device = self._package.device
        return {
            "runtime": "torch-inductor",
            "version": str(torch.__version__),  # a class of its own, which is no JSON value
            "device": device if device == "cpu" else f"{device} ({torch.cuda.get_device_name()})",
            "threads": torch.get_num_threads(),
        }
