"""Action keys, hit / run / may run, and explanations."""

from ..callable import make_callable
from .ahead import look_ahead
from .cover import Cover
from .explain import Change, Explanation, compare, say
from .failures import Failed, Failures
from .keys import Keyer, Parts
from .plan import Action, Plan, judge, make_plan
from .starts import Starts
from .traces import Trace, Traces

__all__ = [
    "Action",
    "Change",
    "Cover",
    "Explanation",
    "Failed",
    "Failures",
    "Keyer",
    "Parts",
    "Plan",
    "Starts",
    "Trace",
    "Traces",
    "compare",
    "judge",
    "look_ahead",
    "make_plan",
    "say",
]

make_callable(__name__, "compressbuild.notebook")
