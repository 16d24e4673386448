"""The conformance kit: what every plugin owes, as pytest classes that an author subclasses with a few lines.

::

    # tests/test_contract.py
    from compressbuild.api.conformance import TechniqueContract

    class TestScale(TechniqueContract):
        technique = "my.scale"
        params = {"factor": 0.5}
        refuses = ({"factor": -1},)

        def subject(self, place):
            return make_small_model(place)

Functions run in real workers, in two processes that differ in hash seed, time zone, clock and directory. For tests
only: it needs pytest, and a plugin's own code does not import it.
"""

from .backend import BackendContract
from .check import CheckContract
from .executor import ExecutorContract
from .kind import KindContract
from .metric import MetricContract
from .running import artifact, counted
from .technique import TechniqueContract

__all__ = [
    "BackendContract",
    "CheckContract",
    "ExecutorContract",
    "KindContract",
    "MetricContract",
    "TechniqueContract",
    "artifact",
    "counted",
]
