"""Small valid inputs of every format, from which the changed ones are made."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [
    ("one good text", "yes"),
    ("a bad, worse", "no"),
    ('the "best" ü', "yes"),
    ("", "no"),
    ("last", "yes"),
] * 3


def csv() -> list[bytes]:
    """Return csv files."""
    quoted = "".join('"{}","{}"\r\n'.format(text.replace('"', '""'), label) for text, label in ROWS)
    plain = "".join(f"{text.replace(',', '').replace(chr(34), '')},{label}\n" for text, label in ROWS)
    numbers = "id,text,label\n" + "".join(f"{row},text {row},{row % 3 - 1}.0\n" for row in range(12))
    return [
        f"text,label\n{plain}".encode(),
        f"text,label\r\n{quoted}".encode(),
        numbers.encode(),
        f"sep=;\ntext;label\n{plain.replace(',', ';')};;\n".encode("cp1252"),
        f"text,label\n{plain}".encode("utf-16"),
        b'"3","Wall St.","Oil rose"\n"1","A","B"\n"2","Cup","Final"\n"4","Chip","New"\n',
    ]


def tab() -> list[bytes]:
    """Return tab-separated files."""
    lines = "".join(f"{text}\t{label}\n" for text, label in ROWS)
    orange = "text\tlabel\nstring\tdiscrete\nmeta\tclass\n"
    return [f"text\tlabel\n{lines}".encode(), f"{orange}{lines}".encode()]


def lines() -> list[bytes]:
    """Return plain texts, one a line."""
    return ["\n".join(text for text, _ in ROWS).encode(), b"one\r\ntwo\rthree"]


def jsonl() -> list[bytes]:
    """Return JSON lines."""
    plain = "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS)
    numbers = "\n".join(json.dumps({"id": row, "text": "t", "label": row % 2, "x": None}) for row in range(6))
    spacy = "\n".join(json.dumps({"text": "t", "cats": {"a": row % 2, "b": 1 - row % 2}}) for row in range(4))
    prodigy = "\n".join(json.dumps({"text": "t", "label": "a", "answer": "accept"}) for _ in range(4))
    return [plain.encode(), numbers.encode(), spacy.encode(), prodigy.encode()]


def json_documents() -> list[bytes]:
    """Return JSON files."""
    rows = [{"text": text, "label": label} for text, label in ROWS]
    choices = {"type": "choices", "value": {"choices": ["yes"]}, "from_name": "s"}
    studio = [{"data": {"text": "t"}, "annotations": [{"result": [choices]}]} for _ in range(3)]
    return [json.dumps(value).encode() for value in (rows, {"data": rows, "version": 1}, studio)] + jsonl()


@cache
def _table() -> Any:
    texts, labels = zip(*ROWS, strict=True)
    return pa.table({"text": list(texts), "label": list(labels), "id": list(range(len(ROWS)))})


def _tables() -> list[Any]:
    texts, labels = zip(*ROWS, strict=True)
    count = len(ROWS)
    return [
        _table(),
        pa.table({"text": pa.array(texts, pa.large_string()), "label": pa.array(labels).dictionary_encode()}),
        pa.table({"text": texts, "label": pa.array([row % 2 for row in range(count)], pa.int8())}),
        pa.table({"text": texts, "label": pa.array([row % 2 == 0 for row in range(count)])}),
        pa.table({"text": texts, "label": pa.array([None, *(row / 2 for row in range(1, count))])}),
        pa.table({"text": [[text] for text in texts], "label": [{"a": label} for label in labels]}),
        pa.table({"text": pa.array(texts).cast(pa.binary()), "label": labels}),
    ]


def parquet() -> list[bytes]:
    """Return parquet files of several types, encodings and compressions."""
    files = []
    for number, table in enumerate(_tables()):
        for options in ({}, {"compression": "gzip", "use_dictionary": False, "data_page_version": "2.0"}):
            if number == 0 or not options:
                sink = io.BytesIO()
                pq.write_table(table, sink, row_group_size=7, **options)
                files.append(sink.getvalue())
    return files


def _ipc(table: Any, stream: bool) -> bytes:
    sink = io.BytesIO()
    opened = pa.ipc.new_stream(sink, table.schema) if stream else pa.ipc.new_file(sink, table.schema)
    with opened as writer:
        writer.write_table(table, max_chunksize=6)
    return sink.getvalue()


def arrow() -> list[bytes]:
    """Return arrow files."""
    return [_ipc(table, stream=False) for table in _tables()]


def stream() -> list[bytes]:
    """Return arrow streams."""
    return [_ipc(table, stream=True) for table in _tables()]


def hub_metadata() -> list[bytes]:
    """Return the metadata that huggingface's datasets stores in a parquet file."""
    label = {"names": ["no", "yes"], "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": label}
    return [json.dumps({"info": {"features": features}}).encode(), b'{"info": {"features": {}}}', b"{}"]


def with_metadata(metadata: bytes) -> bytes:
    """Return an arrow file of numbered labels with such metadata."""
    table = pa.table({"text": ["a", "b", "c"], "label": pa.array([0, 1, 1], pa.int64())})
    return _ipc(table.replace_schema_metadata({b"huggingface": metadata}), stream=False)


def gzipped() -> list[bytes]:
    """Return gzip files of csv."""
    return [gzip.compress(data, mtime=0) for data in csv()[:3]] + [gzip.compress(b"", mtime=0)]


def zipped() -> list[bytes]:
    """Return zip files with one or several members."""
    files = []
    for names in (("data.csv",), ("a/train.csv", "test.csv"), ("../out.csv",), ("data.json",)):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(zipfile.ZipInfo(name), csv()[0])
        files.append(sink.getvalue())
    return files


def sheets() -> list[bytes]:
    """Return spreadsheets, written by hand: the parts that a reader needs and no more."""
    cells = "".join(
        f'<row r="{row}"><c r="A{row}" t="inlineStr"><is><t>{text}</t></is></c>'
        f'<c r="B{row}" t="inlineStr"><is><t>{label}</t></is></c></row>'
        for row, (text, label) in enumerate(
            [("text", "label"), ("good", "a"), ("bad", "b"), ("1", "a")], start=1
        )
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
        f'ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" '
        'r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return [sink.getvalue()]


def recipes() -> list[bytes]:
    """Return recipes: the shipped ones, and a complete one."""
    from submillion.recipe import RECIPES, Recipe

    shipped = [file.read_bytes() for file in sorted(RECIPES.glob("*.yaml"))[:4]]
    return [*shipped, Recipe.load("r8").to_yaml().encode()]


def overrides() -> list[bytes]:
    """Return an assignment to every field of a recipe."""
    from submillion import recipe_file
    from submillion.recipe import Recipe

    values = recipe_file.flat(Recipe.load("r8").model_dump(mode="json"))
    return [f"{name}={json.dumps(value)}".encode() for name, value in values.items()]


def studies() -> list[bytes]:
    """Return study files with axes."""
    return [
        b"name: s\nbase: r8\naxes:\n  lora.r: [2, 4]\n  train.learning_rate: [1e-3, 2e-3]\nseeds: [1, 2]\n",
        b"base: r8\nset: {lora.dropout: 0.1}\naxes:\n  where:\n    all: {lora.targets: [all-linear]}\n"
        b"    top: {lora.layers: top-1}\nhold: parameters\ndesign: grid\nobjective: macro_f1\n",
    ]


def spaces() -> list[bytes]:
    """Return study files with a search."""
    return [
        b"base: r8\nsearch:\n  train.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        b"  lora.targets: {choice: [[query], [query, value]]}\ntrials: 3\nseeds: [1]\npruner: asha\n",
        b"base: r8\nsearch:\n  lora.r: {low: 1, high: 64}\n  lora.dropout: {low: 0, high: 0.3, step: 0.1}\n"
        b"trials: 4\nhold: nothing\n",
    ]


def claims() -> list[bytes]:
    """Return the published claims that ship with the package, and a small file of claims."""
    from submillion.verification.claims.claims_file import PUBLISHED

    small = (
        b"labels: [a, b]\nsources:\n  paper:\n    recipe: {lora: {r: 8}}\n    budget: {trainable: 888,580}\n"
        b"    metrics: {test: {accuracy: 94.0%, rows: 760, correct: 714}}\n"
    )
    return [small, *(file.read_bytes() for file in sorted(PUBLISHED.glob("*.yaml")))]


@cache
def run_files() -> dict[str, bytes]:
    """Return the files of a small finished run by path; it has every part of the analysis.

    With FUZZ_HOME set, one process makes the run there, and the others read it.
    """
    from filelock import FileLock

    from tests.fuzz.made_run import made_in

    with contextlib.ExitStack() as stack:
        home = Path(os.environ.get("FUZZ_HOME") or stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(FileLock(home / "lock"))
        if not (home / "run" / "done").exists():
            made_in(home / "run")
            (home / "run" / "done").touch()
        files = sorted(file for file in (home / "run").rglob("*") if file.is_file() and file.name != "done")
        return {file.relative_to(home / "run").as_posix(): file.read_bytes() for file in files}


def of_run(*names: str) -> list[bytes]:
    """Return files of the run, each after a line with its path."""
    return [name.encode() + b"\n" + run_files()[name] for name in names if name in run_files()]


def analyses() -> list[bytes]:
    """Return the parts of the analysis, each after a line with its path."""
    return of_run(*(name for name in run_files() if name.startswith("analysis/") and name.endswith(".json")))


def predictions() -> list[bytes]:
    """Return files of predictions, labelled and unlabelled."""
    schema = {"id": ["1", "2", "3"], "text_sha256": ["ab" * 32] * 3}
    classes = {"predicted": pa.array([0, 1, 0], pa.int32())}
    shares = {
        name: pa.array(values, pa.float32())
        for name, values in (("p_a", [0.75, 0.25, 1]), ("p_b", [0.25, 0.75, 0]))
    }
    files = []
    for labels in ([0, 1, 1], [None] * 3):
        sink = io.BytesIO()
        pq.write_table(pa.table(schema | {"label": pa.array(labels, pa.int32())} | classes | shares), sink)
        files.append(sink.getvalue())
    return files


def tensor_files() -> list[bytes]:
    """Return safetensors files."""
    header = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    files = []
    for metadata in ({"label_names": '["a", "b"]'}, {"format": "pt"}):
        text = json.dumps({"__metadata__": metadata} | header).encode()
        files.append(struct.pack("<Q", len(text)) + text + struct.pack("<4f", 1, 2, 3, 4))
    return files


def positions() -> list[bytes]:
    """Return the position of a saved training as JSON."""
    stopping = {"patience": 2, "objective": "accuracy", "averaged_steps": 0}
    stopping |= {"best_step": 4, "best_epoch": 1, "best_accuracy": 0.5, "best_loss": 0.7}
    window = {"losses": [0.5], "norms": [1.0], "texts": 3, "tokens": 30, "seconds": 0.1, "spent_before": 0.0}
    totals = {"texts": 3, "tokens": 30, "train_seconds": 0.1, "eval_seconds": 0.1, "wall_seconds": 0.2}
    totals |= {"probe_seconds": 0.0}
    position = {
        "identity": {"seed": 42, "names": ["a", "b"]},
        "step": 4,
        "evaluated": 4,
        "records": 3,
        "history_sha256": "ab" * 32,
        "contrastive": 0,
        "contrastive_totals": totals,
        "contrastive_loss": None,
        "head_start": None,
        "stopping": stopping | {"best_macro_f1": 0.4, "lowest_loss": 0.6, "without_progress": 0},
        "window": window,
        "totals": totals,
    }
    return [json.dumps(position).encode()]


def adapter_configs() -> list[bytes]:
    """Return the configuration of an adapter as peft writes it."""
    from peft import LoraConfig

    values = LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS", inference_mode=True).to_dict()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}
    return [json.dumps(plain, default=str).encode()]


def encoder_configs() -> list[bytes]:
    """Return the config.json of an encoder of every family."""
    from support.tiny import FAMILY_NAMES, tiny_config

    return [json.dumps(tiny_config(family)).encode() for family in FAMILY_NAMES]


@cache
def encoder_files() -> dict[str, bytes]:
    """Return the files of a tiny encoder by name."""
    from support.tiny import tiny_encoder

    with tempfile.TemporaryDirectory() as home:
        return {file.name: file.read_bytes() for file in tiny_encoder(Path(home)).iterdir()}


def tokenizers() -> list[bytes]:
    """Return the tokenizer.json of a tiny encoder."""
    return [encoder_files()["tokenizer.json"]]


def numbers() -> list[bytes]:
    """Return short seeds, from which a reader of Python values draws them."""
    return [bytes([number]) for number in range(16)]
