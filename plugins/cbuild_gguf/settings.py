"""Settings of the GGUF backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["GgufSettings"]


class GgufSettings(Params):
    """Publish a GGUF file, and run it on llama.cpp."""

    type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"],
        Meta(description="llama.cpp's type of the file; it chooses the type of each tensor, and keeps norms in f32"),
    ] = "q4_k_m"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when it runs on this machine")] = 1
    cache: Annotated[
        Literal["f16", "f32"],
        Meta(
            description="type of cached keys and values when it runs; `f32`: attention is in float32, too, and slower"
        ),
    ] = "f16"
    pre_tokenizer: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z0-9.-]+$")] | None,
        Meta(
            description="llama.cpp's name for how the tokenizer splits text (`gpt-2`, `llama-bpe`), for a tokenizer "
            "that the converter does not know; what it makes of text is compared all the same"
        ),
    ] = None
