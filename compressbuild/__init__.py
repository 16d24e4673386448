"""compressbuild: a declarative, plugin-based build system for model artifacts."""

__version__ = "0.1.0"
