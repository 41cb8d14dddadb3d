"""Tests of the whole examination: problems, exit code, and a report that names neither user nor hosts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from submillion import native
from submillion.cli import app
from submillion.inspection.doctor import processor, software, storage
from submillion.inspection.doctor.examination import Examination, examine, redacted, redacted_section
from submillion.inspection.doctor.section import Section
from submillion.limits import Memory, Processors
from submillion.native import int8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/.cache/x and /home/annex/y", "~/.cache/x and /home/annex/y"),
        ("/home/ann", "~"),
        ("/scratch/ann/runs, /scratch/ann", "/scratch/USER/runs, /scratch/USER"),
        ("https://u:p@pkg.corp.example/simple?t=1 x", "ADDRESS x"),
        ("https://pypi.org/simple", "https://pypi.org"),
        ("token hf_abcdefghijkl", "token TOKEN"),
        ("ann@corp.example wrote", "MAIL wrote"),
        ("plain 3/4", "plain 3/4"),
    ],
)
def test_user_home_hosts_and_tokens_are_removed(text: str, shown: str) -> None:
    assert redacted(text, Path("/home/ann"), "ann") == shown


def test_the_examination_of_this_machine_is_complete_and_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    monkeypatch.setenv("SUBMILLION_CACHE", str(tmp_path / "ann" / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_verysecrettoken")
    monkeypatch.setattr(software, "NEEDED", ("torch", "numpy"))  # importing all of them takes seconds
    found = examine(offline=True)
    facts = found.to_json()["facts"]
    assert set(facts) == {
        *("versions", "processor", "kernels", "accelerator", "memory", "disk", "caches", "network", "extras")
    }
    assert facts["versions"]["torch"]
    assert set(native.BUILDS) < set(facts["kernels"])
    assert "~/cache" in str(facts["disk"])
    assert "attribution" in facts["extras"]
    for shown in (found.render(), json.dumps(found.to_json())):
        assert str(tmp_path) not in shown
        assert "verysecret" not in shown


def test_a_forced_build_that_cannot_run_prevents_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, "no-such-build")
    found = Examination([processor.examine_kernels()])
    assert not found.able
    assert "prevents training: SUBMILLION_NATIVE: expected one of" in found.render()


def test_each_build_has_the_reason_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor.environment, "cpu_features", lambda: {"avx2", "fma", "bmi2"})
    monkeypatch.setattr(native, "load_best_build", lambda *_: (None, native.NOT_BUILT))
    monkeypatch.setattr(native.Build, "file", property(lambda _: Path("/no/such/file")))
    section = processor.examine_kernels()
    assert "lacks amx_bf16, amx_int8, amx_tile, avx512_bf16" in section.facts["amx"]
    assert section.facts["avx2"].startswith("not built")
    assert "the kernels are missing" in section.troubles[0].text


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (native.BUILDS["avx2"].needs, "avx2; predict uses it for runs that have proven it"),
        ({"sse2"}, "not here: no int8 kernels for this processor (they need avx2, fma and bmi2)"),
    ],
)
def test_it_says_whether_prediction_in_int8_is_possible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: set[str], expected: str
) -> None:
    (tmp_path / "libsubmillion_int8_avx2.so").touch()
    monkeypatch.setattr(native, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(int8, "cpu_features", lambda: features)
    monkeypatch.setattr(int8, "load", lambda name: SimpleNamespace(build=int8.BUILDS[name]))
    monkeypatch.setattr(native, "load_best_build", lambda *_: (None, native.NOT_BUILT))
    monkeypatch.delenv(native.VARIABLE, raising=False)
    assert processor.examine_kernels().facts["int8"] == expected


@pytest.mark.parametrize(
    ("cores", "threads", "text"),
    [
        (Processors(64, 64, 2.0), 16, "16 threads share 2 cores' worth"),
        (Processors(64, 16, None), 2, "2 threads leave most of the 16 usable cores idle"),
        (Processors(8, 8, None), 4, None),
    ],
)
def test_threads_that_do_not_fit_the_cores_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, cores: Processors, threads: int, text: str | None
) -> None:
    monkeypatch.setattr(processor, "processors", lambda: cores)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    troubles = [trouble.text for trouble in processor.examine_processor().troubles]
    assert len(troubles) == (text is not None)
    assert text is None or troubles[0].startswith(text)


def test_an_accelerator_is_named_with_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submillion.model.precision.training_device", lambda: "cuda")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (70 * 10**9, 80 * 10**9))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Example GPU")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    assert processor.examine_accelerator().facts == {
        "device": "cuda",
        "name": "Example GPU",
        "memory": "70.0 GB of 80.0 GB free",
        "bfloat16": "in hardware",
    }
    kernels = processor.examine_kernels()
    assert kernels.facts["execution"] == "reference, on cuda; the kernels run on processors alone"
    assert "used" not in kernels.facts.values()
    assert kernels.troubles == []


def test_little_memory_and_a_place_that_refuses_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "memory", lambda: Memory(8 * 10**9, 5 * 10**8, 10**9))
    section = storage.examine_memory()
    assert section.facts["limit"] == "1.0 GB (control group)"
    assert section.troubles[0].text == "500.0 MB of memory are available"

    def refuse(dir: Path) -> None:  # noqa: A002
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)
    monkeypatch.setenv("SUBMILLION_CACHE", str(tmp_path))
    disks = storage.examine_disks()
    assert [trouble.prevents_training for trouble in disks.troubles] == [True, True]


def test_a_package_that_cannot_be_imported_ends_the_examination_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(software, "NEEDED", ("torch", "a_package_that_is_not_there"))
    done = CliRunner().invoke(app, ["doctor", "--offline", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert not found["able"]
    assert list(found["facts"]) == ["versions"]
    assert "a_package_that_is_not_there cannot be imported" in found["problems"][0]["text"]


def test_control_characters_of_the_environment_are_not_printed() -> None:
    section = Section("x", {"a\x1b[2J": "b\nc"})
    section.trouble("\x1b]0;t\x07", "do\x9b")
    shown = Examination([redacted_section(section)]).render()
    assert shown.replace("\n", "").isprintable()
