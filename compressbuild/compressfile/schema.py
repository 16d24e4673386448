"""The JSON Schema of a Compressfile, for editors: completion, help on hover, red underlines while typing.

It knows the parameters of the plugins it is given. It checks shapes; that a name is declared, that ``from`` forms no
cycle, that a matrix tells its targets apart is for ``cbuild`` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ..api import Params
from ..words import DURATION, SIZE
from .component import REFERENCE, opened, range_
from .gates import GATE_KEYS, LIMITS, RECORDS, RELATIVE_LIMITS, VERDICTS
from .names import COMMANDS, IDENTIFIER, MAX_NAME, NAME, SANDBOXES
from .sections import DTYPES
from .shapes import Json, either, limit, mapping, number, quantity, sequence, text
from .spec import RETRIED

__all__ = ["schema"]

Types = Mapping[str, type[Params]]

_ENTRY = "^[A-Za-z_][\\w.]*:[A-Za-z_][\\w.]*$"


def schema(
    techniques: Types,
    backends: Types,
    metrics: Types,
    platforms: Mapping[str, str] = MappingProxyType({}),
    models: Types = MappingProxyType({}),
    datasets: Types = MappingProxyType({}),
) -> Json:
    """JSON Schema, draft 2020-12. Each argument: name → type of its parameters (a backend's settings). ``platforms``:
    those of the catalogue, name → backend. ``models``, ``datasets``: the sources of each.

    With no techniques (backends, metrics), any name is accepted, with any parameters.
    """
    families = (techniques, backends, metrics, models, datasets)
    kinds = list(dict.fromkeys(kind for family in families for kind in family.values()))
    found, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/params.{name}")
    refs = dict(zip(kinds, found, strict=True))
    stepped = {refs[kind]["$ref"].removeprefix("#/$defs/params.") for kind in techniques.values()}
    definitions: Json = {
        "reference": {
            "type": "string",
            "pattern": r"\$\{",
            "description": "text with a reference: ${vars.NAME} or, in a matrix target, ${axis}",
        },
        "range": range_(),
        **{f"params.{name}": opened(each, ranged=name in stepped) for name, each in components.items()},
        "step": _step({name: refs[kind] for name, kind in techniques.items()}),
        "metric": _metric({name: refs[kind] for name, kind in metrics.items()}),
        "gate": _gate(),
        "evaluate": _evaluate(),
        "matrix": _matrix(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Compressfile",
        "description": "What compressbuild builds: models, datasets, platforms and targets.",
        "type": "object",
        "required": ["version"],
        "properties": _top(
            {name: definitions[refs[kind]["$ref"][len("#/$defs/") :]] for name, kind in backends.items()},
            platforms,
            [refs[kind] for kind in models.values()],
            [definitions[refs[kind]["$ref"][len("#/$defs/") :]] for kind in datasets.values()],
        ),
        "additionalProperties": False,
        "$defs": definitions,
    }


def _top(backends: Json, platforms: Mapping[str, str], models: list[Json], datasets: list[Json]) -> Json:
    return {
        "version": {"const": 1, "description": "Version of the file format."},
        "vars": {
            "type": ["object", "null"],
            "description": "Values for ${vars.NAME}; --set vars.NAME=VALUE changes one.",
            "propertyNames": {"pattern": f"^{IDENTIFIER.pattern}$"},
        },
        "models": _section(_model(models), "Source models, which nobody builds.", shared=True),
        "datasets": _section(_dataset(datasets), "Data for training, calibration and evaluation."),
        "platforms": _section(_platform(backends, platforms), "Hardware and runtime settings to build for."),
        "evaluate": _evaluate(
            models={
                "type": ["object", "null"],
                "additionalProperties": {"$ref": "#/$defs/evaluate"},
                "description": "Model → what differs for the targets that are made from it.",
            }
        ),
        "targets": _section(_target(), "What to build.", shared=True),
        "groups": _section(
            sequence(text("target, group, glob (cpu-*) or tag:NAME")), "Names for several targets.", shared=True
        ),
        "publish": _section(
            mapping(
                {
                    "to": text("A directory or an address: s3://…, hf://…; {target} is the target's name."),
                    "targets": sequence(text("a target, a group or a glob"), "What may go there; default: all."),
                },
                ("to",),
                True,
            ),
            "Where 'cbuild push' can push.",
        ),
        "defaults": {**mapping(_options()), "description": "Run options of every node that does not set its own."},
        "env": sequence(
            text("an environment variable that nodes may see", "^[A-Za-z_][A-Za-z0-9_]*$"),
            "Environment variables that nodes may see; their values join the keys.",
        ),
        "cache": {
            "anyOf": [
                text("Directory of the cache, relative to this file."),
                mapping(
                    {
                        "directory": text("Directory of the cache, relative to this file."),
                        "remote": text("Where machines share results: s3://bucket/prefix, gs://…, az://…, file:///…"),
                        "trust": sequence(text("a public key"), "Ed25519 keys whose results are used, as PEM files."),
                        "read-only": either({"type": "boolean", "description": "Take results, and add none."}),
                        "timeout": quantity(DURATION, "How long a small request may take; default 10s."),
                    }
                ),
            ]
        },
        "python-path": sequence(text("a directory"), "Where your modules are, relative to this file."),
        "preload": sequence(
            text("a module", r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"),
            "Slow-to-import libraries of your code, imported once for all workers.",
        ),
        "outside": sequence(
            text("a place outside", r"^(/|\.\.)"), "Places outside this file's directory that paths may lead to."
        ),
        "sandbox": either({"enum": list(SANDBOXES), "description": "What steps are confined by; default auto."}),
        "host": text("The machine that runs the steps; a platform may name another."),
        "environments": {
            **mapping(
                {},
                additional=mapping(
                    {
                        "requirements": text("The lock, relative to this file."),
                        "python": text("Versions of Python: '>=3.11,<3.13'."),
                    }
                ),
            ),
            "description": "Other locks for the Python environments that plugins declare.",
        },
    }


def _options() -> Json:
    return {
        "timeout": quantity(DURATION, "Longest a node may run: 90 (seconds), 90s, 10m, 2h."),
        "memory": quantity(SIZE, "Most memory a node may use: bytes, 512MiB, 4GiB."),
        "threads": {**either({"type": "integer", "minimum": 1}), "description": "Threads a node computes with."},
        "seed": {**either({"type": "integer", "minimum": 0, "maximum": 2**32 - 1}), "description": "Random seed."},
        "gpus": {**either({"type": "integer", "minimum": 1}), "description": "GPUs that a node has for itself."},
        "retries": {
            **mapping({cause: {"type": "integer", "minimum": 0, "maximum": 10} for cause in RETRIED}),
            "description": "How often a node that failed starts once more, by cause.",
        },
    }


def _section(entry: Json, description: str, shared: bool = False) -> Json:
    names: Json = {"maxLength": MAX_NAME, "anyOf": [{"pattern": f"^{NAME.pattern}$"}, REFERENCE]}
    if shared:
        names["not"] = {"enum": list(COMMANDS)}
    return {
        "type": ["object", "null"],
        "description": description,
        "additionalProperties": entry,
        "propertyNames": names,
    }


def _model(sources: list[Json]) -> Json:
    """``sources``: schemas of the entries that name a plugin's source."""
    inputs = mapping(
        {
            "shape": sequence(
                {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "minLength": 1}]},
                "Sizes, and names for dynamic axes: [batch, 3, 224, 224].",
            ),
            "dtype": either({"enum": list(DTYPES)}),
        },
        ("shape",),
    )
    files = sequence(text("a path"), "Files that the model needs; their bytes join the key.")
    kind = text("Kind of artifact, where the suffix does not tell.")
    wanted = {"type": "object", "minProperties": 1, "additionalProperties": inputs}
    factory = mapping(
        {
            "factory": text("module:function that returns the model; its code joins the key.", _ENTRY),
            "args": {"type": ["object", "null"], "description": "Keyword arguments of the factory."},
            "weights": text("A safetensors file, relative to this file."),
            "inputs": {**wanted, "description": "Inputs by name, in order."},
            "kind": kind,
            "files": files,
        },
        ("factory", "inputs"),
    )
    file = mapping(
        {"file": text("A model file such as model.onnx."), "inputs": wanted, "kind": kind, "files": files}, ("file",)
    )
    return {"anyOf": [factory, file, *sources]}


def _dataset(sources: list[Json]) -> Json:
    """``sources``: schemas of the entries that name a plugin's source; each may have a ``split`` as well."""
    loaded = mapping(
        {
            "loader": text("module:function that returns batches; its code joins the key.", _ENTRY),
            "args": {"type": ["object", "null"], "description": "Keyword arguments of the loader."},
            "files": sequence(text("a path"), "Files that the loader reads; their bytes join the key."),
        },
        ("loader",),
    )
    size = {"type": ["number", "array"], "minimum": 0, "items": {"type": "integer"}}
    split = either({"type": "object", "additionalProperties": either(size)})
    split["description"] = "Parts that share no row: a share of the rows, how many, or [first, last + 1]; seed."
    opened = [{**each, "properties": {**each["properties"], "split": split}} for each in sources]
    return {"anyOf": [loaded, *opened]} if opened else loaded


def _platform(backends: Json, catalogue: Mapping[str, str]) -> Json:
    """``backends``: name → schema of its settings, which stand beside ``backend`` or ``like``, and ``requires``.
    ``catalogue``: platform → backend; one that is like it need repeat no setting."""
    common: Json = {
        "requires": {"type": ["object", "null"], "description": "Facts that the host must have."},
        "host": text("The machine that compiles and runs for it: user@edge."),
    }
    like = {"like": text("A platform of the catalogue ('cbuild platforms'): what is left out here is as there.")}
    named = ({"required": ["backend"]}, {"required": ["like"]})
    if not backends:
        properties = {"backend": text("a backend"), **like, **common}
        return {**mapping(properties, additional=True), "oneOf": list(named)}
    if catalogue:
        like["like"] = {**either({"enum": list(catalogue)}), "description": like["like"]["description"]}
    branches = [_settings("backend", [name], settings, common) for name, settings in backends.items()]
    for name, settings in backends.items():
        same = [platform for platform, backend in catalogue.items() if backend == name]
        if same:
            optional = {key: value for key, value in settings.items() if key != "required"}
            branches.append(_settings("like", same, optional, common))
    return {
        "type": "object",
        "properties": {"backend": either({"enum": list(backends)}), **like, **common},
        "oneOf": list(named),
        "allOf": branches,
    }


def _settings(key: str, names: list[str], settings: Json, common: Json) -> Json:
    """If ``key`` is one of ``names``: these settings, and what stands beside them."""
    beside = dict.fromkeys((key, *common), True)
    return {
        "if": {"properties": {key: {"enum": names}}, "required": [key]},
        "then": {**settings, "properties": {**settings.get("properties", {}), **beside}},
    }


def _target() -> Json:
    return mapping(
        {
            "from": text("The model or target that this one is made from."),
            "steps": sequence({"$ref": "#/$defs/step"}, "Techniques, applied in order."),
            "platform": text("The platform to compile for."),
            "gates": {
                **either({"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/gate"}}),
                "description": "Limits on metrics that the target must meet.",
            },
            "evaluate": {
                "anyOf": [{"const": False}, {"$ref": "#/$defs/evaluate"}, REFERENCE],
                "description": "false: measure nothing; a mapping: what differs from the file's own evaluate.",
            },
            "matrix": {"$ref": "#/$defs/matrix"},
            "description": text("What the target is for."),
            "tags": sequence(text("a tag", f"^{NAME.pattern}$"), "Words by which it is selected: cbuild tag:NAME."),
            **_options(),
        },
        ("from",),
    )


def _step(techniques: Json) -> Json:
    named = {name: {"anyOf": [params, {"type": "null"}, REFERENCE]} for name, params in techniques.items()}
    options = _options()
    return {
        "description": "A technique, alone or with parameters; run options stand beside it.",
        "anyOf": [
            {"enum": list(techniques)} if techniques else {"type": "string", "minLength": 1},
            {
                **mapping({**named, **options}, additional=not techniques),
                "patternProperties": {r"\$\{": {"type": ["object", "null", "string"]}},
                "anyOf": [{"minProperties": len(options) + 1}, {"not": _only(options)}],
            },
            REFERENCE,
        ],
    }


def _only(properties: Json) -> Json:
    """Objects that have no property beside these."""
    return {"type": "object", "propertyNames": {"enum": list(properties)}}


def _metric(metrics: Json) -> Json:
    named = {name: {"anyOf": [params, {"type": "null"}, REFERENCE]} for name, params in metrics.items()}
    return {
        "description": "A metric, alone or with parameters.",
        "anyOf": [
            {"enum": list(metrics)} if metrics else {"type": "string", "minLength": 1},
            {
                **mapping(named, additional=not metrics),
                "patternProperties": {r"\$\{": {"type": ["object", "null", "string"]}},
                "minProperties": 1,
                "maxProperties": 1,
            },
            REFERENCE,
        ],
    }


def _gate() -> Json:
    verdict = either({"enum": list(VERDICTS)})
    found = mapping(
        {
            "min": limit("Least value that passes: a number, or a size or time such as 1MB or 10ms."),
            "max": limit("Greatest value that passes: a number, or a size or time such as 1MB or 10ms."),
            "min-class": limit("Least value of any class that passes."),
            "max-drop": limit("How far the value may fall below 'against', in the metric's unit.", minimum=0),
            "max-ratio": number("Greatest value / value of 'against'.", exclusiveMinimum=0),
            "min-ratio": number("Least value / value of 'against'.", exclusiveMinimum=0),
            "max-class-drop": limit("How far the value of any class may fall below that of 'against'.", minimum=0),
            "against": text("The target or model to compare with, or 'history': what this target was published with."),
            "record": either({"enum": list(RECORDS), "description": "Which of its history; default last."}),
            "inconclusive": {**verdict, "description": "What a noisy measurement that decides nothing means."},
            "unmeasured": {**verdict, "description": "What a metric that could not be measured here means."},
        }
    )
    assert set(found["properties"]) == set(GATE_KEYS)
    limited = [{"required": [limit]} for limit in LIMITS]
    compared = {limit: ["against"] for limit in RELATIVE_LIMITS}
    return either({**found, "anyOf": limited, "dependentRequired": compared})


def _evaluate(**more: Json) -> Json:
    return {
        **mapping(
            {
                "data": text("The dataset to measure on."),
                "metrics": sequence({"$ref": "#/$defs/metric"}, "What is measured of each target."),
                "baseline": text("The target or model that ratios are shown against."),
                **more,
                **_options(),
            }
        ),
        "description": "What is measured of each target.",
    }


def _matrix() -> Json:
    scalar = {"type": ["string", "number", "boolean"]}
    value = {"anyOf": [scalar, {"type": "object", "required": ["name"], "properties": {"name": scalar}}]}
    return {
        **either(
            {
                "type": "object",
                "minProperties": 1,
                "properties": {"exclude": sequence({"type": "object", "additionalProperties": scalar})},
                "additionalProperties": either({"type": "array", "minItems": 1, "items": value}),
                "propertyNames": {"pattern": f"^{IDENTIFIER.pattern}$", "not": {"enum": ["vars", "env"]}},
            }
        ),
        "description": "Axes, each a list of values: a target for each combination, save those that 'exclude' lists.",
    }
