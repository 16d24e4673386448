"""Digests of code by its syntax tree, and what it imports; nothing is imported to find out."""

from .index import CodeClosure, CodeIndex, code_digest_of_plugin
from .modules import top_level

__all__ = ["CodeClosure", "CodeIndex", "code_digest_of_plugin", "top_level"]
