"""Python environments of plugins' own: their locks, where they lie, how they are made and checked."""

from .wanted import Environments, Wanted, undeclared

__all__ = ["Environments", "Wanted", "undeclared"]
