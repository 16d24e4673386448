"""The plugins that are installed: found by entry point, asked for their records, isolated when broken."""

from .discovery import discover
from .installed import EntryPoint, Installed
from .memory import tool_versions
from .registry import Observer, Plugin, Problem, Registry

__all__ = ["EntryPoint", "Installed", "Observer", "Plugin", "Problem", "Registry", "discover", "tool_versions"]
