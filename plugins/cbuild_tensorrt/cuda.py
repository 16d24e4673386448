"""The little of the CUDA driver API that running an engine needs, through ctypes.

The driver's own library is there wherever a GPU works, so this asks for no toolkit and no further package. The primary
context is the one that the CUDA runtime inside TensorRT uses.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

from compressbuild.api import UserError

__all__ = ["Cuda"]

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

# Signatures of cuda.h; a CUdeviceptr is 64 bits wide, a CUstream and a CUcontext are pointers.
_SIGNATURES: dict[str, list[Any]] = {
    "cuInit": [c_uint],
    "cuGetErrorString": [c_int, ctypes.POINTER(c_char_p)],
    "cuDeviceGet": [ctypes.POINTER(c_int), c_int],
    "cuDeviceGetName": [c_char_p, c_int, c_int],
    "cuDevicePrimaryCtxRetain": [ctypes.POINTER(c_void_p), c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuStreamCreate": [ctypes.POINTER(c_void_p), c_uint],
    "cuStreamSynchronize": [c_void_p],
    "cuMemAlloc_v2": [ctypes.POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemcpyHtoDAsync_v2": [c_uint64, c_void_p, c_size_t, c_void_p],
    "cuMemcpyDtoHAsync_v2": [c_void_p, c_uint64, c_size_t, c_void_p],
}


class Cuda:
    """A device with one stream. Every method raises UserError with CUDA's own words."""

    def __init__(self, device: int = 0, library: str = LIBRARY) -> None:
        try:
            self._lib = ctypes.CDLL(library)
        except OSError as error:
            raise UserError(
                f"no CUDA driver: {error}", hint="running an engine needs an NVIDIA GPU and its driver"
            ) from None
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._lib, name)
            function.argtypes, function.restype = arguments, c_int
        self._call("cuInit", 0)
        handle, context, stream = c_int(), c_void_p(), c_void_p()
        self._call("cuDeviceGet", byref(handle), device)
        self._call("cuDevicePrimaryCtxRetain", byref(context), handle)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", byref(stream), 0)
        self._device = handle
        self.stream: int = stream.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._lib, name)(*arguments)
        if code:
            text = c_char_p()
            self._lib.cuGetErrorString(code, byref(text))
            said = (text.value or b"unknown error").decode(errors="replace")
            raise UserError(f"CUDA: {name} failed: {said} ({code})")

    @property
    def device_name(self) -> str:
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._device)
        return name.value.decode(errors="replace")

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes of device memory (at least one, for an empty tensor needs an address too)."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), max(size, 1))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", address)

    def copy_in(self, address: int, array: Any) -> None:
        """Host array → device, on the stream; the array must live until :meth:`synchronize`."""
        if array.nbytes:
            self._call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, self.stream)

    def copy_out(self, array: Any, address: int) -> None:
        if array.nbytes:
            self._call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, self.stream)

    def synchronize(self) -> None:
        self._call("cuStreamSynchronize", self.stream)
