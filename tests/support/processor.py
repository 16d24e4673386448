"""What the processor of this host needs."""

from __future__ import annotations

from compressbuild.platforms import probe
from compressbuild.platforms.saturation import saturates

__all__ = ["NARROW"]

NARROW = saturates(probe())
"""Whether weights of 7 bits are needed for exact sums, as ``reduce-range: auto`` decides for a platform."""
