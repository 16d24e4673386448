"""Facts from the files of other hosts, and what is said when a host is not enough."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.api import FACTS, Needs
from compressbuild.errors import CompressfileError, PluginError
from compressbuild.platforms import (
    Facts,
    Host,
    Missing,
    check,
    check_requires,
    lacking,
    probe,
    requires_met,
    unavailable,
)
from compressbuild.platforms.libraries import _package_directories, find_library
from compressbuild.platforms.nvidia import parse_smi

INTEL = """\
processor\t: {0}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu vme sse4_2 fma avx avx2 avx512f avx512bw avx_vnni avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
power management:
"""
AMD = """\
processor\t: {0}
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu vme sse4_1 sse4_2 fma avx f16c avx2 sha_ni
bugs\t\t: sysret_ss_attrs
"""
GRAVITON = """\
processor\t: {0}
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp asimddp sve asimdfhm i8mm bf16 svei8mm svebf16
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""
BIG_LITTLE = """\
processor\t: 0
Features\t: fp asimd asimdhp asimddp i8mm sve
CPU implementer\t: 0x41
CPU part\t: 0xd44

processor\t: 1
Features\t: fp asimd asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd05

processor\t: 2
Features\t: fp asimd asimdhp asimddp
CPU implementer\t: 0x99
CPU part\t: 0x123
"""
SMI = """\
0, GPU-aaaa, NVIDIA L40S, 8.9, 46068, 550.54.15
1, GPU-bbbb, NVIDIA H100 80GB HBM3, 9.0, 81559, 550.54.15
"""


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Facts]:
    def make(
        cpuinfo: str = "",
        *,
        files: dict[str, str] | None = None,
        smi: tuple[str, str | None] = ("", None),
        environ: dict[str, str] | None = None,
    ) -> Facts:
        for name, text in {"proc/cpuinfo": cpuinfo, **(files or {})}.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        found = Host(tmp_path / "root", environ=environ or {}, smi=lambda _: smi)
        return Facts(found.fact, lambda: found.gpu().reason)

    return make


# -- facts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpuinfo", "model", "isa"),
    [
        (
            "\n".join(INTEL.format(i) for i in range(2)),
            "Intel(R) Xeon(R) Platinum 8480+",
            "amx_bf16 amx_int8 amx_tile avx avx2 avx512_bf16 avx512_vnni avx512bw avx512f avx_vnni fma sse4_2",
        ),
        (AMD.format(0), "AMD EPYC 7763 64-Core Processor", "avx avx2 f16c fma sse4_1 sse4_2"),
        (GRAVITON.format(0), "Neoverse-V1", "asimd asimddp asimdfhm asimdhp bf16 i8mm sve svebf16 svei8mm"),
        (BIG_LITTLE, "Cortex-X1 + Cortex-A55 + ARM 0x99/0x123", "asimd asimddp asimdhp"),
    ],
)
def test_processors(host: Callable[..., Facts], cpuinfo: str, model: str, isa: str) -> None:
    facts = host(cpuinfo)
    assert facts.get("cpu.model") == model
    assert facts.get("cpu.isa") == isa.split()


def test_a_host_without_proc(tmp_path: Path) -> None:
    facts = Facts(Host(tmp_path / "nothing", smi=lambda _: ("", None)).fact)
    assert facts.get("cpu.isa") is None
    assert facts.get("cpu.model") == facts.get("cpu.arch")
    memory = facts.get("memory")
    assert isinstance(memory, int)
    assert memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 32 * 2**30),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 32 * 2**30),
        ({"sys/fs/cgroup/memory.max": f"{2**30}\n"}, 2**30),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**31}\n"}, 2**31),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 32 * 2**30),
    ],
)
def test_memory_is_what_a_container_may_use(host: Callable[..., Facts], files: dict[str, str], expected: int) -> None:
    facts = host(files={"proc/meminfo": f"MemTotal: {32 * 2**20} kB\nMemFree: 1 kB\n", **files})
    assert facts.get("memory") == expected


def test_gpus_from_nvidia_smi(host: Callable[..., Facts]) -> None:
    facts = host(smi=(SMI, None))
    assert facts.get("gpu.name") == "NVIDIA L40S"
    assert facts.get("gpu.sm") == "sm89"
    assert facts.get("gpu.memory") == 46068 * 2**20
    assert facts.get("gpu.driver") == "550.54.15"


@pytest.mark.parametrize(
    ("devices", "name"),
    [("1", "NVIDIA H100 80GB HBM3"), ("1,0", "NVIDIA H100 80GB HBM3"), ("GPU-bb", "NVIDIA H100 80GB HBM3"), ("", None)],
)
def test_gpus_that_cuda_would_see(host: Callable[..., Facts], devices: str, name: str | None) -> None:
    facts = host(smi=(SMI, None), environ={"CUDA_VISIBLE_DEVICES": devices})
    assert facts.get("gpu.name") == name
    if name is None:
        assert facts.gpu_reason == "hidden by CUDA_VISIBLE_DEVICES"


def test_gpus_where_only_the_kernel_module_tells(host: Callable[..., Facts]) -> None:
    files = {
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA A10\nIRQ: 1\nGPU UUID: \t GPU-1\n",
    }
    facts = host(files=files, smi=("", "nvidia-smi is not installed"))
    assert (facts.get("gpu.name"), facts.get("gpu.driver")) == ("NVIDIA A10", "535.104.05")
    assert (facts.get("gpu.sm"), facts.get("gpu.memory")) == (None, None)


def test_values_that_a_driver_does_not_give() -> None:
    (gpu,) = parse_smi("0, GPU-1, NVIDIA GH200, [N/A], [N/A], 535.1\n")
    assert (gpu.sm, gpu.memory) == (None, None)
    assert parse_smi("No devices were found\n") == ()


def test_no_gpu_and_why(host: Callable[..., Facts]) -> None:
    facts = host(smi=("", "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the driver."))
    assert facts.get("gpu.name") is None
    assert check(Needs(gpu=True), facts) == (
        Missing("an NVIDIA GPU (nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the driver.)"),
    )


def test_facts_are_probed_when_asked_for_and_once() -> None:
    asked: list[str] = []

    def fact(name: str) -> str:
        asked.append(name)
        return name.upper()

    facts = Facts(fact)
    assert asked == []
    assert [facts.get("os"), facts.get("os")] == ["OS", "OS"]
    assert facts.select(("os", "memory", "os")) == {"memory": "MEMORY", "os": "OS"}
    assert asked == ["os", "memory"]


def test_an_unknown_fact_is_an_error() -> None:
    with pytest.raises(PluginError, match=r"unknown platform fact 'cpu\.ias'") as caught:
        probe().get("cpu.ias")
    assert caught.value.hint == "did you mean 'cpu.isa'?"
    with pytest.raises(PluginError):
        Facts.fixed({"gpu": "x"})


def test_this_host() -> None:
    facts = probe()
    values = {name: facts.get(name) for name in FACTS}
    assert values["os"] == os.uname().sysname
    assert values["cpu.count"] == len(os.sched_getaffinity(0))
    assert values["cpu.model"]
    memory = values["memory"]
    assert isinstance(memory, int)
    assert memory > 2**28


def test_cpu_facts_start_no_process_and_import_nothing_heavy() -> None:
    script = (
        "import sys\nfrom compressbuild.platforms import probe\nfacts = probe()\n"
        "[facts.get(n) for n in ('os', 'cpu.arch', 'cpu.model', 'cpu.isa', 'cpu.count', 'memory')]\n"
        "print(sorted({'subprocess', 'ctypes', 'numpy', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- needs -----------------------------------------------------------------------------------------------------------

BARE = Facts.fixed({"os": "Linux", "cpu.model": "Old CPU", "cpu.isa": ["avx2"], "memory": 8 * 2**30, "cpu.count": 4})
SERVER = Facts.fixed(
    {
        "os": "Linux",
        "cpu.arch": "x86_64",
        "cpu.model": "Intel(R) Xeon(R) Platinum 8480+",
        "cpu.isa": ["amx_int8", "avx2", "avx512_vnni"],
        "cpu.count": 64,
        "memory": 256 * 2**30,
        "gpu.name": "NVIDIA L40S",
        "gpu.sm": "sm89",
        "gpu.memory": 46068 * 2**20,
        "gpu.driver": "550.54.15",
    }
)


def test_the_message_says_all_that_is_missing_and_how_to_get_it() -> None:
    needs = Needs(
        modules=("no_such_module", "json"),
        libraries=(("libnosuch.so.11", "libnosuch.so.10", "nosuch_11.dll"), ("libc.so.6",)),
        gpu=True,
        system=("Windows",),
        install="pip install tensorrt, on a machine with an NVIDIA GPU",
    )
    assert unavailable("tensorrt", check(needs, BARE)) == (
        "tensorrt: needs the Python package no_such_module (not installed), Windows (this is Linux), "
        "libnosuch.so.11 or libnosuch.so.10 (not found) and an NVIDIA GPU (none found): "
        "pip install tensorrt, on a machine with an NVIDIA GPU"
    )


def test_packages_that_several_needs_lack_are_named_once() -> None:
    missing = [*check(Needs(modules=("no_a", "no_b")), BARE), *check(Needs(modules=("no_b", "no_c"), gpu=True), BARE)]
    assert lacking(missing) == (
        "needs the Python packages no_a, no_b and no_c (not installed) and an NVIDIA GPU (none found)"
    )


def test_nothing_is_missing() -> None:
    assert check(Needs(), BARE) == ()
    assert check(Needs(modules=("json", "msgspec"), system=("linux", "Darwin"), gpu=True), SERVER) == ()


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        (SERVER, []),
        (BARE, ["an NVIDIA GPU (none found)"]),
        (Facts.fixed({"gpu.name": "NVIDIA A100", "gpu.sm": "sm80"}), ["a GPU of sm86 or sm89 (this is sm80)"]),
        (Facts.fixed({"gpu.name": "NVIDIA A100"}), ["a GPU of sm86 or sm89 (this is of an unknown one)"]),
    ],
)
def test_a_gpu_of_a_compute_capability(facts: Facts, missing: list[str]) -> None:
    assert [lack.what for lack in check(Needs(gpu_sm=("sm86", "sm89")), facts)] == missing


def test_a_module_is_found_without_importing_it_or_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive_package").mkdir()
    (tmp_path / "explosive_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert check(Needs(modules=("explosive_package.inner",)), BARE) == ()
    assert "explosive_package" not in sys.modules


# -- libraries -------------------------------------------------------------------------------------------------------

E_MACHINE = {"x86_64": 62, "aarch64": 183}


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44)


@pytest.fixture
def fresh_libraries() -> None:
    find_library.cache_clear()
    _package_directories.cache_clear()


@pytest.mark.skipif(os.uname().machine not in E_MACHINE, reason="an architecture whose ELF number the test knows")
@pytest.mark.parametrize("folder", ["mylib_libs", "nvidia/mylib/lib", "mylib/lib", "mylib/capi", "mylib.libs"])
def test_libraries_of_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_libraries: None, folder: str
) -> None:
    site = tmp_path / "as-pip-install-target-leaves-it"
    (site / folder).mkdir(parents=True)
    (site / "mylib-1.0.dist-info").mkdir()
    (site / folder / "libmine.so.7").write_bytes(elf(E_MACHINE[os.uname().machine]))
    (site / folder / "libforeign.so.7").write_bytes(elf(8))  # MIPS
    (site / folder / "libfake.so.7").write_text("not a library")
    monkeypatch.syspath_prepend(str(site))
    assert find_library("libmine.so.7") == str(site / folder / "libmine.so.7")
    assert find_library("libforeign.so.7") is None
    assert find_library("libfake.so.7") is None


def test_libraries_of_the_system_and_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_libraries: None
) -> None:
    assert find_library("libc.so.6") is not None
    assert find_library("libmine.so.8") is None
    find_library.cache_clear()
    (tmp_path / "libmine.so.8").write_bytes(Path(sys.executable).resolve().read_bytes()[:64])
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    assert find_library("libmine.so.8") == str(tmp_path / "libmine.so.8")


# -- requires --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "requires",
    [
        {},
        {"cpu.isa": "avx512_vnni"},
        {"cpu.isa": ["avx512_vnni", "amx_int8"]},
        {"memory": "256GiB", "cpu.count": 64},
        {"memory": 2**30, "gpu.memory": "40 GB"},
        {"os": "linux", "cpu.arch": ["aarch64", "x86_64"], "cpu.model": "*xeon*"},
        {"gpu.sm": "sm89", "gpu.driver": "550"},
        {"gpu.sm": ["sm80", "sm89"]},
        {"gpu.sm": ">=sm80", "gpu.driver": ">=550.54"},
        {"gpu.driver": 550},
        {"gpu.driver": 550.5},
    ],
)
def test_requirements_that_are_met(requires: dict[str, object]) -> None:
    assert check_requires(requires) == {}
    assert requires_met(requires, SERVER) == ()


@pytest.mark.parametrize(
    ("facts", "requires", "reasons"),
    [
        (BARE, {"cpu.isa": ["avx2", "amx_int8"]}, ("cpu.isa amx_int8 (not in Old CPU)",)),
        (BARE, {"memory": "16GiB"}, ("memory of at least 16 GiB (this host has 8 GiB)",)),
        (BARE, {"cpu.count": 8}, ("cpu.count of at least 8 (this host has 4)",)),
        (BARE, {"gpu.sm": "sm89"}, ("gpu.sm sm89 (NVIDIA GPU: none found)",)),
        (BARE, {"os": ["Darwin", "Windows"]}, ("os Darwin or Windows (this host has Linux)",)),
        (BARE, {"cpu.arch": "aarch64"}, ("cpu.arch aarch64 (unknown on this host)",)),
        (SERVER, {"gpu.sm": ">=sm90"}, ("gpu.sm >=sm90 (this host has sm89)",)),
        (SERVER, {"gpu.sm": "sm80"}, ("gpu.sm sm80 (this host has sm89)",)),
        (SERVER, {"gpu.driver": "550.60"}, ("gpu.driver >= 550.60 (this host has 550.54.15)",)),
        (SERVER, {"gpu.memory": "80GiB"}, ("gpu.memory of at least 80 GiB (this host has 44.99 GiB)",)),
        (
            SERVER,
            {"cpu.model": "*EPYC*", "cpu.count": 1, "memory": "1TiB"},
            (
                "cpu.model *EPYC* (this host has Intel(R) Xeon(R) Platinum 8480+)",
                "memory of at least 1 TiB (this host has 256 GiB)",
            ),
        ),
    ],
)
def test_requirements_that_are_not_met(facts: Facts, requires: dict[str, object], reasons: tuple[str, ...]) -> None:
    assert requires_met(requires, facts) == reasons


@pytest.mark.parametrize(
    ("requires", "message", "hint"),
    [
        ({"cpu.ias": "avx2"}, "unknown platform fact 'cpu.ias'", "did you mean 'cpu.isa'?"),
        ({"xyzzy": 1}, "unknown platform fact 'xyzzy'", f"known: {', '.join(FACTS)}"),
        ({"cpu.isa": "avx512vnni"}, "unknown instruction set extension 'avx512vnni'", "did you mean 'avx512_vnni'?"),
        ({"cpu.isa": ["avx2", 7]}, "unknown instruction set extension 7", None),
        ({"memory": "lots"}, "'memory' cannot be 'lots'", "expected a size such as 16GiB"),
        ({"memory": True}, "'memory' cannot be True", "expected a size such as 16GiB"),
        ({"cpu.count": 0}, "'cpu.count' cannot be 0", "expected a positive whole number"),
        ({"gpu.sm": 89}, "'gpu.sm' cannot be 89", None),
        ({"gpu.driver": "new"}, "'gpu.driver' cannot be 'new'", None),
        ({"os": []}, "'os' cannot be []", "expected a name, or a list of names"),
        ({"cpu.model": {"a": 1}}, "'cpu.model' cannot be {'a': 1}", "expected a name, or a list of names"),
    ],
)
def test_requirements_that_mean_nothing(requires: dict[str, object], message: str, hint: str | None) -> None:
    (found,) = check_requires(requires).values()
    assert found[0] == message
    assert hint is None or found[1] == hint
    with pytest.raises(CompressfileError) as caught:
        requires_met(requires, SERVER)
    assert [d.message for d in caught.value.diagnostics] == [message]


def test_programs_are_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Needs(programs=(("no-such-compiler", "my-compiler"),), install="install a compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    (missing,) = check(needs, BARE)
    assert (missing.what, missing.hint) == (
        "the program no-such-compiler or my-compiler (not on PATH)",
        "install a compiler",
    )
    (tmp_path / "my-compiler").write_text("#!/bin/sh\n")
    assert check(needs, BARE), "it cannot be executed yet"
    (tmp_path / "my-compiler").chmod(0o755)
    assert check(needs, BARE) == ()
