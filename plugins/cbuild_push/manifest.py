"""Places to push published artifacts to."""

from compressbuild.api import Destination, Stack, hookimpl

from .params import HuggingFace


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
        name="url",
        schemes=("*",),
        open="cbuild_push.url:open_place",
        shared=True,
        stack=Stack(modules=("fsspec",), install="pip install 'compressbuild[push-url]'"),
        summary="any store that fsspec knows: s3://, gs://, az://, sftp://, webdav:// …",
    )
