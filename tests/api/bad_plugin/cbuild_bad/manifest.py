"""Techniques and metrics with one fault each; ``test_bad_plugins.py`` says which contract test names it."""

from typing import Annotated

import msgspec

from compressbuild.api import ArtifactMetric, Backend, Kind, Meta, Params, Stack, Technique, hookimpl

STACK = Stack(preload=("numpy",))


class Factor(Params):
    """Scale the text."""

    factor: Annotated[float, Meta(ge=0, le=1)] = 0.5


class Loose(Params):
    """A number without a range."""

    factor: float = 0.5


class Clamped(Params):
    """A parameter that is set to the same value whatever is written."""

    factor: Annotated[float, Meta(ge=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "factor", 0.5)


_count = iter(range(1 << 30))


class Moving(Params):
    """A default that is another one each time."""

    factor: int = msgspec.field(default_factory=lambda: next(_count))


PARAMS = {"loose": Loose, "clamped": Clamped, "moving": Moving}
TECHNIQUES = """
    good clock date hashing identity randomness path undeclared outside own_data environment mutable_default remembers
    pickled pickled_arrays clamped loose moving link fifo bad_name hard_link writes_outside writes_project spoils_input
    connects empty no_required_file not_a_dict nan_fact huge_fact traceback many_lines accepts_all crashes exits
    computed_import thread
"""
METRICS = "m_good m_nan m_missing m_text m_flag m_infinite m_random m_traceback m_rows m_rowless"
RUNNERS = """
    r_good r_any_feeds r_mute r_reuses r_no_inputs r_unnamed_axis r_changes_feeds r_drifts r_lists r_pairs r_same_names
"""
CENSUSES = "c_good c_type c_weights c_twice c_macs c_traffic"
BACKENDS = "b_good b_blind"


@hookimpl
def compressbuild_kinds():
    yield Kind(name="bad-text", files=("value.txt",), validate="cbuild_bad.work:validate")
    yield Kind(name="bad-blind", files=("value.txt",), validate="cbuild_bad.work:blind")
    yield Kind(name="bad-mute", files=("value.txt",))
    yield Kind(name="bad-renamed", files=("value.txt",), suffixes=(".bad",), validate="cbuild_bad.work:validate")
    for name in RUNNERS.split():
        yield Kind(
            name=f"bad-{name.replace('_', '-')}",
            files=("value.txt",),
            validate="cbuild_bad.work:validate",
            load=f"cbuild_bad.runners:{name}",
            stack=STACK,
        )

    for name in CENSUSES.split():
        yield Kind(
            name=f"bad-{name.replace('_', '-')}",
            files=("value.txt",),
            validate="cbuild_bad.work:validate",
            census=f"cbuild_bad.censuses:{name}",
            stack=STACK,
        )


@hookimpl
def compressbuild_techniques():
    for name in TECHNIQUES.split():
        yield Technique(
            name=f"bad.{name.replace('_', '-')}",
            run=f"cbuild_bad.work:{name if name not in PARAMS else 'good'}",
            params=PARAMS.get(name, Factor),
            consumes=("bad-text",),
            stack=STACK,
        )


@hookimpl
def compressbuild_backends():
    """Both run what they compiled; one notices damage, as its kind does."""
    for name, kind in zip(BACKENDS.split(), ("bad-text", "bad-blind"), strict=True):
        yield Backend(
            name=f"bad.{name.replace('_', '-')}",
            compile="cbuild_bad.work:good",
            load="cbuild_bad.runners:r_good",
            settings=Factor,
            consumes=("bad-text",),
            produces=kind,
            stack=STACK,
        )


@hookimpl
def compressbuild_metrics():
    for name in METRICS.split():
        yield ArtifactMetric(
            name=f"bad.{name.replace('_', '-')}",
            run=f"cbuild_bad.work:{name}",
            summary="a number",
            kinds=("bad-text",),
            per_class=name == "m_rowless",
            stack=STACK,
        )
