import subprocess
import sys


def test_manifests_import_no_model_library():
    """What the engine imports to know a plugin must not cost what the plugin's work costs."""
    code = (
        "import sys, cbuild_torch.manifest as torch, cbuild_onnx.manifest as onnx, cbuild_kit\n"
        "records = [*torch.compressbuild_techniques(), *onnx.compressbuild_techniques()]\n"
        "records += [*torch.compressbuild_kinds(), *onnx.compressbuild_kinds()]\n"
        "assert len(records) > 10, len(records)\n"
        "print(sorted({'torch', 'numpy', 'onnx', 'onnxruntime', 'safetensors', 'torch_pruning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
