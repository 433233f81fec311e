"""What is said of a CPU's instructions, of those that libraries are told, and of 16 bits."""

import pytest

from hrnet_det.analysis import instructions

X86 = """\
processor\t: 0
model name\t: Some CPU of 2021
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16 amx_tile amx_bf16

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp sve bf16\n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    monkeypatch.setattr(instructions, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_those_of_an_x86(cpuinfo):
    cpuinfo.write_text(X86)
    assert instructions.cpu_name() == "Some CPU of 2021"
    assert instructions.instructions() == [
        "AVX2",
        "AVX-512",
        "AVX-512 VNNI (int8)",
        "AVX-512 BF16",
        "AMX bfloat16",
    ]


def test_those_of_an_arm(cpuinfo):
    cpuinfo.write_text(ARM)
    assert instructions.instructions() == ["NEON", "NEON dot products (int8)", "SVE", "BF16"]


def test_without_a_list_it_is_what_torch_has_chosen(cpuinfo, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert instructions.instructions() == ["AVX2"]


def test_a_limit_of_the_environment_is_said_and_takes_16_bits_away(monkeypatch):
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert instructions.limits() == [
        "ONEDNN_MAX_CPU_ISA=avx2 limits the convolutions of torch and OpenVINO; onnxruntime does "
        "not read it"
    ]
    assert not instructions.has_bfloat16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert instructions.has_bfloat16()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert instructions.has_bfloat16() and instructions.limits() == []
