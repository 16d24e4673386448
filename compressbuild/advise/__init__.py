"""What an expert would say of a Compressfile and its results: each item with its evidence and the lines to change."""

from .checks import Advised, advise
from .gather import gather
from .patch import Patched, patched

__all__ = ["Advised", "Patched", "advise", "gather", "patched"]
