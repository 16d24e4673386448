"""What plugins share about datasets and model inputs. Not a plugin: it has no entry point.

Its public modules are this one, :mod:`cbuild_kit.interface`, :mod:`cbuild_kit.parity`, :mod:`cbuild_kit.predictions`,
:mod:`cbuild_kit.previews`, :mod:`cbuild_kit.profiled` and :mod:`cbuild_kit.scores`. Importing this one is cheap; numpy
is imported by the functions that need it.
"""

from .batching import arrays, batch_indices, batches
from .examples import Example, example, fitting
from .feeds import sample_feeds
from .inputs import axis_sizes, example_arrays, fit, fixed_batch
from .labels import is_unlabelled, require_labels, unlabelled
from .schemes import check_scheme
from .variety import variety

VERSION = "1.0"
"""``major.minor`` of the public modules. A minor adds names, and parameters with a default. A major takes away."""

__all__ = [
    "VERSION",
    "Example",
    "arrays",
    "axis_sizes",
    "batch_indices",
    "batches",
    "check_scheme",
    "example",
    "example_arrays",
    "fit",
    "fitting",
    "fixed_batch",
    "is_unlabelled",
    "require_labels",
    "sample_feeds",
    "unlabelled",
    "variety",
]
