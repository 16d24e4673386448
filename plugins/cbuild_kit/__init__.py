"""What first-party plugins share about datasets and model inputs. Not a plugin: it has no entry point.

Importing it is cheap; numpy is imported by the functions that need it.
"""

from .batches import arrays, batch_indices, batches
from .example import Example, example, model_inputs
from .feeds import sample_feeds
from .inputs import ModelInput, axis_sizes, example_arrays, example_feeds, fit, fixed_batch
from .schemes import check_scheme

__all__ = [
    "Example",
    "ModelInput",
    "arrays",
    "axis_sizes",
    "batch_indices",
    "batches",
    "check_scheme",
    "example",
    "example_arrays",
    "example_feeds",
    "fit",
    "fixed_batch",
    "model_inputs",
    "sample_feeds",
]
