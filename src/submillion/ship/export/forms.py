"""The registry of forms: the files of each, their writers, and the programs that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from submillion import notices
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.ship.export.web import files as web
from submillion.sources.adapter_files import HEAD
from submillion.wording import listed

if TYPE_CHECKING:
    from submillion.ship.export.sessions import Session
    from submillion.ship.export.source import ExportSource

ALL = "all"
SAMPLE_ROWS = 100
"""Rows for a runtime that is too slow for all of them."""


@dataclass(frozen=True)
class ExportFile:
    """One file that can be opened by itself."""

    path: str
    """Its place in the export, with `/`."""
    title: str
    """Its name in the card and the picture."""
    runtime: str
    """The package that reads it, whose version is recorded."""
    write: Callable[[ExportSource, Path], None]
    """Writes it, and its `parts`; the path is absolute, its folder exists."""
    opener: Callable[[], Callable[[Path], Session]]
    """Imports its runtime, and returns what opens it from the folder of the export."""
    parts: tuple[str, ...] = ()
    """Further files that belong to it, if they are written."""
    twin: ExportFile | None = None
    """The same file in a faster runtime, which answers every row; `runtime` then answers SAMPLE_ROWS of them."""
    runtime_version: str | None = None
    """The version of a runtime that is not a Python package."""


@dataclass(frozen=True)
class Form:
    """One choice of `export --to`."""

    name: str
    files: tuple[ExportFile, ...]
    extra: str | None = None
    """The optional extra of submillion that it needs."""
    modules: tuple[str, ...] = ()
    """The modules that this extra installs and that the form needs."""
    in_all: bool = True
    """Whether `all` includes it."""
    calibrated: bool = False
    """Whether it takes the ranges of activations from training texts."""


def _write_merged(source: ExportSource, file: Path) -> None:
    from submillion.ship.export.merged import write_merged  # noqa: PLC0415 - loads transformers

    write_merged(source, file)


def _write_onnx(source: ExportSource, file: Path) -> None:
    from submillion.ship.export.onnx_graph import graph_of  # noqa: PLC0415 - an optional extra

    file.write_bytes(graph_of(source).read_bytes())


def _write_onnx_int8(source: ExportSource, file: Path, reduce_range: bool) -> None:
    from submillion.ship.export.onnx_graph import write_int8  # noqa: PLC0415 - an optional extra

    write_int8(source, file, reduce_range)


def _write_openvino(source: ExportSource, file: Path) -> None:
    from submillion.ship.export.openvino_graph import write_openvino  # noqa: PLC0415 - an optional extra

    write_openvino(source, file)


def _write_openvino_int8(source: ExportSource, file: Path) -> None:
    from submillion.ship.export.openvino_graph import write_openvino_int8  # noqa: PLC0415 - an optional extra

    write_openvino_int8(source, file)


def _merged_opener() -> Callable[[Path], Session]:
    from submillion.ship.export.sessions import TransformersSession  # noqa: PLC0415 - loads transformers

    return TransformersSession


def _write_web(source: ExportSource, file: Path) -> None:
    from submillion.ship.export.web.write import write_web  # noqa: PLC0415 - an optional extra

    write_web(source, file)


def _web_opener() -> Callable[[Path], Session]:
    from submillion.ship.export.web.node import NodeSession  # noqa: PLC0415 - loads transformers

    return NodeSession


def _onnx_file(path: str, title: str, write: Callable[[ExportSource, Path], None]) -> ExportFile:
    def opener() -> Callable[[Path], Session]:
        from submillion.ship.export import sessions  # noqa: PLC0415 - loads transformers

        sessions.import_onnxruntime()
        return partial(sessions.OnnxSession, file=path)

    return ExportFile(path, title, "onnxruntime", write, opener)


def _openvino_file(path: str, title: str, write: Callable[[ExportSource, Path], None]) -> ExportFile:
    def opener() -> Callable[[Path], Session]:
        from submillion.ship.export import sessions  # noqa: PLC0415 - loads transformers

        sessions.import_openvino()
        return partial(sessions.OpenvinoSession, file=path)

    parts = (path.removesuffix(".xml") + ".bin",)
    return ExportFile(path, title, "openvino", write, opener, parts)


_GRAPH = ("onnx", "onnxscript")
_ONNX = (*_GRAPH, "onnxruntime")

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            "merged",
            (
                ExportFile(
                    "model.safetensors",
                    "merged, transformers",
                    "transformers",
                    _write_merged,
                    _merged_opener,
                    (HEAD,),
                ),
            ),
        ),
        Form("onnx", (_onnx_file("onnx/model.onnx", "ONNX", _write_onnx),), "onnx", _ONNX),
        Form(
            "onnx-int8",
            (
                _onnx_file(
                    "onnx/model_quantized.onnx", "ONNX int8", partial(_write_onnx_int8, reduce_range=True)
                ),
                _onnx_file(
                    "onnx/model_qint8_avx512_vnni.onnx",
                    "ONNX int8 for VNNI",
                    partial(_write_onnx_int8, reduce_range=False),
                ),
            ),
            "onnx",
            _ONNX,
        ),
        Form(
            "openvino",
            (_openvino_file("openvino/openvino_model.xml", "OpenVINO", _write_openvino),),
            "openvino",
            (*_GRAPH, "openvino"),
        ),
        Form(
            "openvino-int8",
            (
                _openvino_file(
                    "openvino/openvino_model_qint8_quantized.xml", "OpenVINO int8", _write_openvino_int8
                ),
            ),
            "openvino",
            (*_GRAPH, "openvino", "nncf"),
            calibrated=True,
        ),
        Form(
            "web",
            (
                ExportFile(
                    f"{web.FOLDER}/{web.GRAPH}",
                    "browser, ONNX int8",
                    web.RUNTIME.name,
                    _write_web,
                    _web_opener,
                    web.parts(),
                    twin=_onnx_file(f"{web.FOLDER}/{web.GRAPH}", "ONNX int8", _write_web),
                    runtime_version=web.RUNTIME.version,
                ),
            ),
            "onnx",
            _ONNX,
            in_all=False,
        ),
    )
}
"""Every form by name, in the order in which they are written."""

FILES: dict[str, tuple[Form, ExportFile]] = {
    file.path: (form, file) for form in FORMS.values() for file in form.files
}
"""Form and file by the file's place in an export."""


def chosen_forms(to: str | Sequence[str], training_texts: bool = True) -> list[Form]:
    """Return the forms that are asked for, in the order of the registry.

    Args:
        to: names of forms, or `all`.
        training_texts: whether the run's training texts are known; without them, `all` leaves out the forms that need
            them, with a notice.

    Raises:
        BadInput: no name or an unknown one, or packages are missing; the error lists all of them. Or a form that needs
            the training texts of a run for which they are unknown.
    """
    wanted = [to] if isinstance(to, str) or not isinstance(to, Iterable) else list(to)
    unknown = [str(name) for name in wanted if not isinstance(name, str) or name not in (*FORMS, ALL)]
    if unknown or not wanted:
        expected = f"some of {', '.join(FORMS)}, or {ALL}"
        joined = any(set(name.replace(",", " ").split()) <= {*FORMS, ALL} for name in unknown)
        remedy = "Name each form by itself." if joined else did_you_mean("".join(unknown[:1]), (*FORMS, ALL))
        raise BadInput(Problem("@{to}", expected, ", ".join(unknown) or "none", remedy))
    of_all = [form for form in FORMS.values() if form.in_all] if ALL in wanted else []
    left_out = [form for form in of_all if form.calibrated and form.name not in wanted and not training_texts]
    if left_out:
        names = listed([form.name for form in left_out])
        notices.emit(
            "forms_left_out",
            f"{names} is calibrated on training texts, which are unknown for an adopted run; the other forms are "
            "written.",
            forms=[form.name for form in left_out],
        )
    forms = [
        form for form in FORMS.values() if form.name in wanted or (form in of_all and form not in left_out)
    ]
    if not training_texts and (calibrated := [form.name for form in forms if form.calibrated]):
        expected = f"a run whose training rows are known, to calibrate {listed(calibrated)}"
        raise BadInput(Problem("@{to}", expected, "an adopted one", "Name other forms."))
    _check_extras(forms)
    return forms


def _check_extras(forms: Sequence[Form]) -> None:
    problems = []
    for extra in dict.fromkeys(form.extra for form in forms if form.extra):
        needed = dict.fromkeys(name for form in forms if form.extra == extra for name in form.modules)
        names = [form.name for form in forms if form.extra == extra]
        if missing := [name for name in needed if find_spec(name) is None]:
            remedy = f'Install them with: pip install "submillion[{extra}]"'
            problems.append(
                Problem(
                    f"@{{to}} {', '.join(names)}",
                    f"the packages {listed(list(needed))}",
                    f"no {', '.join(missing)}",
                    remedy,
                )
            )
    if problems:
        raise BadInput(problems)
