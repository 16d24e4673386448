"""OpenVINO and NNCF, imported with their telemetry off.

Both report their use to a server from the moment they are imported, unless they find themselves in a CI job, which is
the switch that they document: ``CI`` for OpenVINO, ``NNCF_CI`` for NNCF. They look once.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["nncf", "openvino", "silent"]

_OFF = {"CI": "true", "NNCF_CI": "1"}


@contextmanager
def silent() -> Iterator[None]:
    """With telemetry off, for calls that ask again whether they may report: ``convert_model`` does."""
    before = {key: os.environ.get(key) for key in _OFF}
    os.environ.update(_OFF)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _quietly(name: str) -> ModuleType:
    with silent():
        return importlib.import_module(name)


openvino = _quietly("openvino")


def nncf() -> ModuleType:
    """NNCF, which takes seconds to import."""
    made = _quietly("nncf")
    made.set_log_level(logging.WARNING)  # its notices at each step say what the facts say
    return made
