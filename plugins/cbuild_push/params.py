"""Options of destinations, beside ``to`` and ``targets``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params


class HuggingFace(Params):
    """Push to a model repository of the Hugging Face Hub, with a model card. The token comes from $HF_TOKEN."""

    private: Annotated[bool, Meta(description="make the repository private, if the push creates it")] = False
    license: Annotated[str | None, Meta(description="the card's license, as the Hub names it: apache-2.0")] = None
    base_model: Annotated[str | None, Meta(description="the Hub's name of the model it was made from")] = None
    pipeline_tag: Annotated[
        str | None, Meta(description="the task, as the Hub names it: image-classification; the card then has results")
    ] = None
    tags: Annotated[tuple[str, ...], Meta(description="more tags for the Hub's search")] = ()


class Oci(Params):
    """Push to an OCI registry. $OCI_USERNAME and $OCI_PASSWORD say who one is."""

    plain_http: Annotated[bool, Meta(description="speak HTTP without TLS, as on loopback")] = False


class Mlflow(Params):
    """Push to an MLflow model registry, as a new version. $MLFLOW_TRACKING_URI says where it is."""

    alias: Annotated[str | None, Meta(description="an alias for the version that is pushed: champion")] = None
