"""Examines processor, kernels, number format, threads and accelerator."""

from __future__ import annotations

import os

from submillion import environment, native
from submillion.errors import BadInput, SubmillionError
from submillion.inspection.doctor.section import Section
from submillion.limits import processors
from submillion.native import int8
from submillion.notices import suppressed
from submillion.wording import listed, plural

INSTRUCTION_SETS = (
    *(
        "amx_tile",
        "amx_bf16",
        "amx_int8",
        "avx512_bf16",
        "avx512_fp16",
        "avx512_vnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
    ),
    *("avx_vnni", "avx2", "avx", "fma", "f16c", "bmi2", "sse4_2", "bf16", "asimd", "sve", "i8mm"),
)
"""Instruction sets that matrix products can use, as /proc/cpuinfo names them."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "SLURM_CPUS_PER_TASK")


def examine_processor() -> Section:
    """Return processor, instruction sets, cores and threads."""
    section = Section("processor")
    cores = processors()
    features = environment.cpu_features()
    section.facts["name"] = environment.processor()
    section.facts["instruction sets"] = (
        ", ".join(name for name in INSTRUCTION_SETS if name in features) or "not known"
    )
    usable = f"{cores.usable} of {cores.total} usable"
    quota = "" if cores.quota is None else f", of which a control group allows the time of {cores.quota:g}"
    section.facts["cores"] = usable + quota
    import torch

    threads = torch.get_num_threads()
    variables = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if os.environ.get(name)]
    section.facts["threads"] = ", ".join([str(threads), *variables])
    if threads > cores.allowed:
        shared = cores.usable if cores.quota is None else min(cores.usable, cores.quota)
        section.trouble(
            f"{plural(threads, 'thread')} share {shared:g} cores' worth of time and wait for each other",
            f"Set train.threads, or the environment variable OMP_NUM_THREADS, to {cores.allowed}.",
        )
    elif threads < cores.allowed // 2:  # torch uses physical cores, which may be half of the logical ones
        reason = f" ({listed(variables)})" if variables else ""
        section.trouble(
            f"{plural(threads, 'thread')} leave most of the {cores.allowed} usable cores idle{reason}",
            "Set train.threads to the number of physical cores.",
        )
    return section


def examine_kernels() -> Section:
    """Return the chosen number format and build of the kernels, and the reason against each better build."""
    from submillion.model.precision import choose_precision, training_device

    section = Section("kernels")
    device = training_device()
    try:
        with suppressed():
            precision = choose_precision("auto")
            library, reason = native.load_best_build(precision.dtype_name)
    except BadInput as error:  # the environment variable names a build that cannot run here
        section.trouble(
            str(error).rstrip("."),
            f"Unset the environment variable {native.VARIABLE}.",
            prevents_training=True,
        )
        return section
    section.facts["number format"] = f"{precision.dtype_name} ({precision.reason})"
    used = library.build.name if library else None
    if device != "cpu":
        section.facts["execution"] = f"reference, on {device}; the kernels run on processors alone"
    else:
        section.facts["execution"] = f"packed, {used} ({reason})" if used else f"reference ({reason})"
        section.facts["int8"] = _int8()
    features = environment.cpu_features()
    if not native.RUNS_HERE:  # the reason is that of the reference execution
        return section
    for build in native.BUILDS.values():
        section.facts[build.name] = (
            "used" if build.name == used and device == "cpu" else _state(build, features)
        )
    if library is None and device == "cpu" and not os.environ.get(native.VARIABLE):
        _no_kernels(section, features)
    return section


def examine_accelerator() -> Section:
    """Return the accelerator that training uses, if any."""
    import torch

    from submillion.model.precision import bf16_features, training_device

    section = Section("accelerator")
    device = training_device()
    if device == "cpu":
        section.facts["device"] = "none"
        return section
    section.facts["device"] = device
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        section.facts["name"] = torch.cuda.get_device_name()
        section.facts["memory"] = f"{free / 1e9:.1f} GB of {total / 1e9:.1f} GB free"
        section.facts["bfloat16"] = "in hardware" if bf16_features(device) else "not in hardware"
    return section


def _int8() -> str:
    """Return the build that can predict in int8, or why there is none."""
    library, reason = int8.load_best()
    if library is None:
        return f"not here: {reason}"
    return f"{library.build.name.removeprefix('int8_')}; predict uses it for runs that have proven it"


def _state(build: native.Build, features: set[str]) -> str:
    """Return why a build is not the one in use."""
    missing = sorted(build.needs - features)
    if missing:
        return f"not for this processor, which lacks {', '.join(missing)}"
    if not build.file.is_file():
        return f"not built; {native.NOT_BUILT}"
    try:
        native.load(build.name)
    except (OSError, SubmillionError) as error:
        return f"could not be loaded: {error}"
    return "could run here; another one is better or is selected"


def _no_kernels(section: Section, features: set[str]) -> None:
    able = [build for build in native.BUILDS.values() if build.needs <= features]
    if not able:
        section.facts["note"] = "no kernels for this processor; training runs on torch alone"
    elif not any(build.file.is_file() for build in able):
        section.trouble(
            "the kernels are missing, so training runs on torch alone and takes longer",
            "Install a C++ compiler (g++ or clang), then install submillion again.",
        )
    else:
        section.trouble(
            f"the kernels {listed(build.name for build in able)} cannot be loaded here",
            "Install submillion again on this machine.",
        )
