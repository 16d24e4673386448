"""What this host is (facts, probed lazily), and whether it is enough for a record's needs or a platform's ``requires``.

Probing imports nothing heavy and loads no driver: it reads ``/proc`` and ``/sys``, and runs ``nvidia-smi`` once, when a
GPU fact is asked for and there is an NVIDIA driver.
"""

from .catalogue import Ability, assess
from .cgroups import quota
from .facts import Fact, Facts, Host, probe
from .needs import Missing, check, install_line, lacking, unavailable
from .requires import check_requires, requires_met
from .saturation import saturates

__all__ = [
    "Ability",
    "Fact",
    "Facts",
    "Host",
    "Missing",
    "assess",
    "check",
    "check_requires",
    "install_line",
    "lacking",
    "probe",
    "quota",
    "requires_met",
    "saturates",
    "unavailable",
]
