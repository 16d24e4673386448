"""Text -> located nodes -> Spec. ``load`` and ``loads`` are in ``compressfile.load``, which imports YAML."""

from .spec import Spec

__all__ = ["Spec"]
