"""What first-party plugins share about datasets and model inputs. Not a plugin: it has no entry point.

Importing it is cheap; numpy is imported by the functions that need it.
"""

from .batches import arrays, batches
from .inputs import ModelInput, axis_sizes, example_arrays, fit

__all__ = ["ModelInput", "arrays", "axis_sizes", "batches", "example_arrays", "fit"]
