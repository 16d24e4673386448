"""Techniques on PyTorch models, and the kind ``torch-model``: a factory, named edits and safetensors; no pickle."""

from compressbuild.api import Kind, Source, Stack, Technique, hookimpl

from .advice.records import checks
from .prune.params.channels import PruneChannels
from .prune.params.gradual import PruneGradual
from .prune.params.heads import PruneHeads
from .prune.params.layers import PruneLayers
from .prune.params.magnitude import PruneMagnitude
from .prune.params.movement import PruneMovement
from .prune.params.nm import PruneNm
from .prune.params.recurrent import PruneRecurrent
from .rewrite.params.activations import ReplaceActivation
from .rewrite.params.batchnorm import FoldBatchnorm
from .rewrite.params.cluster import ShareCluster
from .rewrite.params.depthwise import ReplaceDepthwise
from .rewrite.params.lowrank import FactorizeLowrank
from .rewrite.params.sharing import ShareLayers
from .to_onnx.params.export import ExportOnnx
from .to_onnx.params.program import ExportedProgram
from .to_onnx.params.qat import QuantizeQat
from .train.params import Distill, Finetune, Train

# The first optimizer imports torch._dynamo, an export the other two: 1 s less in a worker whose parent has them.
_TORCH = Stack(
    modules=("torch", "safetensors", "numpy"),
    tools=("torch", "numpy", "safetensors"),
    preload=("torch", "torch._dynamo", "torch.export", "torch.onnx", "safetensors.torch"),
    install="pip install 'compressbuild[torch]'",
)
_PRUNING = _TORCH.also(modules=("torch_pruning",), tools=("torch-pruning",), preload=("torch_pruning",))
_EXPORT = _TORCH.also(
    modules=("onnx", "onnxscript", "onnxruntime"),
    tools=("onnx", "onnxscript", "onnxruntime"),
    preload=("onnx", "onnxscript"),
    install="pip install 'compressbuild[torch,onnx]'",
)
_QAT = _EXPORT.also(modules=("torchao",), tools=("torchao",), preload=("torchao.quantization.pt2e.quantize_pt2e",))


@hookimpl
def compressbuild_kinds():
    yield Kind(
        name="torch-model",
        files=("model.json", "weights.safetensors"),
        loading=(
            "from safetensors.torch import load_file\n"
            'weights = load_file(f"{directory}/weights.safetensors")  # of the module that model.json describes\n'
        ),
        summary="a PyTorch module: its factory, named edits and weights",
        validate="cbuild_torch.model.description:validate",
        load="cbuild_torch.model.runner:load",
        profile="cbuild_torch.model.profile:profile",
        census="cbuild_torch.model.census:census",
        open="cbuild_torch.model.opening:open_model",
        init="cbuild_torch.model.source:init",
        carries_code=True,
        stack=_TORCH,
    )


@hookimpl
def compressbuild_sources():
    yield Source(
        name="exported",
        of="model",
        params=ExportedProgram,
        run="cbuild_torch.to_onnx.program:read",
        produces="onnx",
        isolate=True,
        stack=_EXPORT,
    )


@hookimpl
def compressbuild_checks():
    yield from checks()


def _technique(name, run, params, **more):
    more = {"stack": _TORCH, "produces": "torch-model", **more}
    return Technique(name=name, run=run, params=params, consumes=("torch-model",), **more)


@hookimpl
def compressbuild_techniques():
    yield _technique("train", "cbuild_torch.train.finetune:train", Train, traits=("trains",))
    yield _technique("finetune", "cbuild_torch.train.finetune:train", Finetune, traits=("trains",))
    yield _technique("distill", "cbuild_torch.train.distill:distill", Distill, traits=("trains",))
    yield _technique(
        "prune.magnitude", "cbuild_torch.prune.magnitude:prune", PruneMagnitude, traits=("prunes", "zeros")
    )
    yield _technique("prune.nm", "cbuild_torch.prune.nm:prune", PruneNm, traits=("prunes", "zeros", "pattern"))
    yield _technique("prune.heads", "cbuild_torch.prune.heads:prune", PruneHeads, traits=("prunes", "shrinks"))
    yield _technique("prune.layers", "cbuild_torch.prune.depth:prune", PruneLayers, traits=("prunes", "shrinks"))
    yield _technique(
        "prune.movement", "cbuild_torch.prune.movement:prune", PruneMovement, traits=("prunes", "zeros", "trains")
    )
    yield _technique(
        "prune.recurrent", "cbuild_torch.prune.recurrent:prune", PruneRecurrent, traits=("prunes", "shrinks")
    )
    yield _technique(
        "prune.gradual", "cbuild_torch.prune.gradual:prune", PruneGradual, traits=("prunes", "zeros", "trains")
    )
    yield _technique(
        "prune.channels",
        "cbuild_torch.prune.channels:prune",
        PruneChannels,
        stack=_PRUNING,
        traits=("prunes", "shrinks"),
    )
    yield _technique(
        "factorize.lowrank", "cbuild_torch.rewrite.lowrank:factorize", FactorizeLowrank, traits=("shrinks",)
    )
    yield _technique("fold.batchnorm", "cbuild_torch.rewrite.batchnorm:fold", FoldBatchnorm)
    yield _technique("replace.activation", "cbuild_torch.rewrite.activations:replace", ReplaceActivation)
    yield _technique("replace.depthwise", "cbuild_torch.rewrite.depthwise:replace", ReplaceDepthwise)
    yield _technique("share.layers", "cbuild_torch.rewrite.sharing:share", ShareLayers)
    yield _technique("share.cluster", "cbuild_torch.rewrite.cluster:share", ShareCluster)
    yield _technique(
        "quantize.qat",
        "cbuild_torch.to_onnx.qat:quantize",
        QuantizeQat,
        produces="onnx",
        stack=_QAT,
        traits=("int8", "trains"),
    )
    yield _technique(
        "export.onnx",
        "cbuild_torch.to_onnx.export:export",
        ExportOnnx,
        produces="onnx",
        stack=_EXPORT,
        traits=("exports",),
    )
