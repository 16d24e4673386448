"""Text -> located nodes -> Spec. ``load`` and ``loads`` live in ``compressbuild.compressfile.load`` (they import YAML)."""

from .spec import Spec

__all__ = ["Spec"]
