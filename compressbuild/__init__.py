"""compressbuild: a declarative, plugin-based build system for model artifacts.

    from compressbuild import Project, build_targets

    project = Project(Path("Compressfile"), ["vars.ratio=0.3"])
    print(project.plan(["cpu-int8"]).count("run"))
    report = build_targets(project, ["cpu-int8"])

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
    "load": "compressfile.load",
    "load_torch": "registry.opening",
    "schemes": "api",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'compressbuild' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"compressbuild.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
