"""What a CPU can compute with: its vector instructions, and which of them libraries are told."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")

# Flags of /proc/cpuinfo, and what people call them: x86, then ARM.
FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI (int8)",
    "avx512_vnni": "AVX-512 VNNI (int8)",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bfloat16",
    "amx_fp16": "AMX float16",
    "asimd": "NEON",
    "asimdhp": "NEON float16",
    "asimddp": "NEON dot products (int8)",
    "sve": "SVE",
    "i8mm": "I8MM (int8)",
    "bf16": "BF16",
}
# Variables of the environment that take instructions away, and from which libraries.
LIMITS = {
    "ATEN_CPU_CAPABILITY": "torch's own loops",
    "ONEDNN_MAX_CPU_ISA": "the convolutions of torch and OpenVINO",
}
_WITHOUT_16_BITS = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def cpu_name() -> str:
    """The CPU's model, as it calls itself."""
    return _field("model name") or platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Vector instructions that the CPU has, whatever libraries make of them.

    Where there is no /proc/cpuinfo it is the one set that torch has chosen for itself.
    """
    flags = set((_field("flags") or _field("Features")).split())
    found = [name for flag, name in FLAGS.items() if flag in flags]
    return found or [torch.backends.cpu.get_cpu_capability()]


def limits() -> list[str]:
    """A line for each variable of the environment that takes instructions from libraries."""
    return [
        f"{name}={os.environ[name]} limits {what}; onnxruntime does not read it"
        for name, what in LIMITS.items()
        if os.environ.get(name)
    ]


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16, and oneDNN is not told to leave them."""
    told = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_16_BITS
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not told


def _field(name: str) -> str:
    """The value of a line of /proc/cpuinfo, of the first core; "" without one."""
    if not CPUINFO.is_file():
        return ""
    for line in CPUINFO.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
