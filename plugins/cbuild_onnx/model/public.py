"""What a plugin on ONNX models needs, and may rely on. It stays as it is within a minor version of compressbuild.

``find(directory)`` is the model's file; ``read(path)`` loads it, with its weights if they lie in a file beside it.
``write(model, directory)`` saves it as an artifact of kind ``onnx``, large weights beside it. ``load`` makes a Runner.
"""

from .files import find, read, validate, write
from .runner import OnnxRunner, load

__all__ = ["OnnxRunner", "find", "load", "read", "validate", "write"]
