"""compressbuild: a declarative, plugin-based build system for model artifacts.

    import compressbuild

    compressbuild.plan("Compressfile", ["cpu-int8"], set={"vars.ratio": 0.3})
    report = compressbuild.build("Compressfile", ["cpu-int8"])
    report["cpu-int8"].metrics

Everything here is imported when it is first used: ``import compressbuild`` costs next to nothing.
"""

__version__ = "0.1.0"

_HOMES = {
    "AnswerMetric": "api",
    "ArtifactMetric": "api",
    "Backend": "api",
    "BuildReport": "build.outcome",
    "CbuildError": "errors",
    "CompressfileError": "errors",
    "Context": "api",
    "DatasetRef": "api",
    "FileRef": "api",
    "FunctionRef": "api",
    "Kind": "api",
    "Metric": "api",
    "ModelRef": "api",
    "Needs": "api",
    "Params": "api",
    "Parity": "api",
    "Platform": "api",
    "Project": "project",
    "Rows": "api",
    "RunMetric": "api",
    "Runner": "api",
    "Stack": "api",
    "Source": "api",
    "Spec": "compressfile",
    "Technique": "api",
    "UserError": "api",
    "build_targets": "build.run",
    "hookimpl": "api",
    "Report": "notebook",
    "build": "build",
    "compare": "notebook",
    "load": "notebook",
    "load_torch": "registry.opening",
    "plan": "plan",
    "why": "notebook",
    "schemes": "api",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'compressbuild' has no attribute '{name}'")
    from importlib import import_module

    home = import_module(f"compressbuild.{_HOMES[name]}")
    return home if _HOMES[name] == name else getattr(home, name)


def __dir__() -> list[str]:
    return __all__
