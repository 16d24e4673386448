"""Digests of code by its syntax tree, and what it imports; nothing is imported to find out."""

from .index import CodeClosure, CodeIndex, CodeProblem, code_digest_of_plugin

__all__ = ["CodeClosure", "CodeIndex", "CodeProblem", "code_digest_of_plugin"]
