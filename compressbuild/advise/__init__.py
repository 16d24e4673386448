"""What an expert would say of a Compressfile and its results: each item with its evidence and the lines to change."""

from .checks import advise
from .gather import gather
from .patch import Patched, patched
from .view import Advice, Edit, Seen, Step

__all__ = ["Advice", "Edit", "Patched", "Seen", "Step", "advise", "gather", "patched"]
