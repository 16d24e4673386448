"""TensorRT's log lines → the node's log, with the errors kept for the failure's message."""

from __future__ import annotations

import logging
import re
from typing import Any

__all__ = ["Sink", "attach", "readable"]

# Probing for a GPU fails where there is none; it says nothing about the model.
_NOISE = re.compile(r"catchCudaError|cudaError 35|CUDA driver version is insufficient")
_CODED = re.compile(r"^.*?Error Code \d+: [\w ]*\((?:\[[^\]]*\] )?(.*?)\.?(?: In \w+ at \S+:\d+)?\)?$")
_ASSERTION = re.compile(r"^Assertion failed: .*?: ")

_loggers: dict[str, Any] = {}


class Sink:
    """Where the lines go now. ``errors``: what TensorRT called an error. ``probes``: failed probes for a GPU."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self.errors: list[str] = []
        self.probes: list[str] = []

    def write(self, level: int, text: str) -> None:
        if level >= logging.ERROR:
            if _NOISE.search(text):
                self.probes.append("the CUDA driver is missing or too old for this TensorRT")
            else:
                self.errors.append(readable(text))
        self.log.log(level, "%s", text)

    def reason(self) -> str:
        """Why the last call failed, in one line."""
        return "; ".join(dict.fromkeys(self.errors or self.probes)) or "no reason was given"


def readable(text: str) -> str:
    """TensorRT's words on one line, without error codes and positions in its own source."""
    lines = []
    for line in map(str.strip, text.splitlines()):
        if line and not _NOISE.search(line) and not line.startswith("Invalid Node - "):
            coded = _CODED.match(line)
            line = coded[1] if coded else _ASSERTION.sub("", line)
            if line not in lines:
                lines.append(line.strip().rstrip("."))
    return "; ".join(lines)


def attach(trt: Any, log: logging.Logger) -> tuple[Any, Sink]:
    """The logger of a TensorRT module, writing to ``log`` from now on, and its sink.

    The library keeps the first logger that it is given for the whole process, so there is one a module.
    """
    logger = _loggers.get(trt.__name__)
    if logger is None:
        logger = _loggers[trt.__name__] = _make(trt)
    logger.sink = Sink(log)
    return logger, logger.sink


def _make(trt: Any) -> Any:
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.CRITICAL,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        sink: Sink

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, text: str) -> None:
            self.sink.write(levels[level], text)

    return Logger()
