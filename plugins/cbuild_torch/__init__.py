"""Techniques on PyTorch models, and the kind ``torch-model``: a factory, named edits and safetensors; no pickle."""

from compressbuild.api import Kind, Needs, Technique, hookimpl

from .params import Distill, ExportOnnx, Finetune, PruneChannels, PruneMagnitude, Train
from .params_layers import FactorizeLowrank, FoldBatchnorm, ReplaceActivation, ReplaceDepthwise
from .params_pruning import PruneGradual, PruneHeads, PruneLayers, PruneMovement, PruneNm, PruneRecurrent
from .params_quantize import QuantizeQat
from .params_share import ShareCluster, ShareLayers

_INSTALL = "pip install 'compressbuild[torch]'"
_TORCH = Needs(modules=("torch", "safetensors", "numpy"), install=_INSTALL)
_PRUNING = Needs(modules=("torch", "safetensors", "numpy", "torch_pruning"), install=_INSTALL)
_EXPORT = Needs(
    modules=("torch", "safetensors", "numpy", "onnx", "onnxscript", "onnxruntime"),
    install="pip install 'compressbuild[torch,onnx]'",
)
_QAT = Needs(modules=(*_EXPORT.modules, "torchao"), install=_EXPORT.install)

# The first optimizer imports torch._dynamo, an export the other two: 1 s less in a worker whose parent has them.
_PRELOAD = ("torch", "torch._dynamo", "torch.export", "torch.onnx", "safetensors.torch")
_TOOLS = ("torch", "numpy", "safetensors")


@hookimpl
def compressbuild_kinds():
    yield Kind(
        name="torch-model",
        files=("model.json", "weights.safetensors"),
        summary="a PyTorch module: its factory, named edits and weights",
        validate="cbuild_torch.description:validate",
        load="cbuild_torch.runner:load",
        load_needs=_TORCH,
        profile="cbuild_torch.profile:profile",
        init="cbuild_torch.source:init",
        carries_code=True,
        tools=_TOOLS,
        preload=_PRELOAD,
    )


def _technique(name, run, params, **more):
    more = {"tools": _TOOLS, "preload": _PRELOAD, "needs": _TORCH, "produces": "torch-model", **more}
    return Technique(name=name, run=run, params=params, consumes=("torch-model",), **more)


@hookimpl
def compressbuild_techniques():
    yield _technique("train", "cbuild_torch.finetune:train", Train)
    yield _technique("finetune", "cbuild_torch.finetune:train", Finetune)
    yield _technique("distill", "cbuild_torch.distill:distill", Distill)
    yield _technique("prune.magnitude", "cbuild_torch.magnitude:prune", PruneMagnitude)
    yield _technique("prune.nm", "cbuild_torch.nm:prune", PruneNm)
    yield _technique("prune.heads", "cbuild_torch.heads:prune", PruneHeads)
    yield _technique("prune.layers", "cbuild_torch.depth:prune", PruneLayers)
    yield _technique("prune.movement", "cbuild_torch.movement:prune", PruneMovement)
    yield _technique("prune.recurrent", "cbuild_torch.recurrent:prune", PruneRecurrent)
    yield _technique("prune.gradual", "cbuild_torch.gradual:prune", PruneGradual)
    yield _technique(
        "prune.channels",
        "cbuild_torch.channels:prune",
        PruneChannels,
        tools=(*_TOOLS, "torch-pruning"),
        preload=(*_PRELOAD, "torch_pruning"),
        needs=_PRUNING,
    )
    yield _technique("factorize.lowrank", "cbuild_torch.lowrank:factorize", FactorizeLowrank)
    yield _technique("fold.batchnorm", "cbuild_torch.batchnorm:fold", FoldBatchnorm)
    yield _technique("replace.activation", "cbuild_torch.activations:replace", ReplaceActivation)
    yield _technique("replace.depthwise", "cbuild_torch.depthwise:replace", ReplaceDepthwise)
    yield _technique("share.layers", "cbuild_torch.sharing:share", ShareLayers)
    yield _technique("share.cluster", "cbuild_torch.cluster:share", ShareCluster)
    yield _technique(
        "quantize.qat",
        "cbuild_torch.qat:quantize",
        QuantizeQat,
        produces="onnx",
        tools=(*_TOOLS, "torchao", "onnx", "onnxscript", "onnxruntime"),
        preload=(*_PRELOAD, "torchao.quantization.pt2e.quantize_pt2e", "onnx", "onnxscript"),
        needs=_QAT,
    )
    yield _technique(
        "export.onnx",
        "cbuild_torch.export:export",
        ExportOnnx,
        produces="onnx",
        tools=(*_TOOLS, "onnx", "onnxscript", "onnxruntime"),
        preload=(*_PRELOAD, "onnx", "onnxscript"),
        needs=_EXPORT,
    )
