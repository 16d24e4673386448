"""The project as it was at a git revision: checked out aside, and compared by what its targets would be made of."""

from .affected import Affected, affected, revised
from .checkout import Checkout, checked_out

__all__ = ["Affected", "Checkout", "affected", "checked_out", "revised"]
