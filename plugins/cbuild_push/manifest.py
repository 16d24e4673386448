"""Places to push published artifacts to."""

from compressbuild.api import Destination, Stack, hookimpl

from .params import HuggingFace, Mlflow, Oci


@hookimpl
def compressbuild_destinations():
    yield Destination(
        name="directory",
        schemes=("file",),
        open="cbuild_push.directory:open_place",
        shared=True,
        modes=True,
        summary="a directory, or a mounted share",
    )
    yield Destination(
        name="huggingface",
        schemes=("hf",),
        open="cbuild_push.huggingface:open_place",
        options=HuggingFace,
        stack=Stack(modules=("huggingface_hub",), install="pip install 'compressbuild[push-hf]'"),
        summary="a model repository of the Hugging Face Hub: hf://owner/name, or hf://owner/name@branch",
    )
    yield Destination(
        name="mlflow",
        schemes=("mlflow",),
        open="cbuild_push.mlflow:open_place",
        options=Mlflow,
        whole=True,
        stack=Stack(modules=("mlflow",), install="pip install 'compressbuild[push-mlflow]'"),
        summary="a model of an MLflow registry, a version for each push: mlflow://name",
    )
    yield Destination(
        name="oci",
        schemes=("oci",),
        open="cbuild_push.oci:open_place",
        options=Oci,
        stack=Stack(modules=("requests",), install="pip install 'compressbuild[push-oci]'"),
        summary="an OCI registry, in the layout of CNCF ModelPack: oci://host/name:tag",
    )
    yield Destination(
        name="url",
        schemes=("*",),
        open="cbuild_push.url:open_place",
        shared=True,
        stack=Stack(modules=("fsspec",), install="pip install 'compressbuild[push-url]'"),
        summary="any store that fsspec knows: s3://, gs://, az://, sftp://, webdav:// …",
    )
