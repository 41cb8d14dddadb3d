"""Writes the page of the static folder: everything in it that no run decides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from submillion.ship.export.web.files import MODULES, OURS, PAGE, RUNTIME, TOKENIZERS, page_files

_POLICY = "script-src 'self'; style-src 'self';"
_OWN_POLICY = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self';"
_FOOTER = "Confidence is a probability of the classifier. The report shows how often it is right."
_OWN_FOOTER = (
    "This page contains ONNX Runtime "
    '(<a href="vendor/onnxruntime.LICENSE.txt">MIT licence</a>, '
    '<a href="vendor/onnxruntime.ThirdPartyNotices.txt">notices</a>) and tokenizers.js '
    '(<a href="vendor/tokenizers.LICENSE.txt">Apache licence</a>).'
)


def write_page(root: Path) -> None:
    """Write the page and its modules into the folder of the page: all that no run decides.

    Args:
        root: an existing folder without a page.
    """
    page = root / "page"
    page.mkdir()
    for name in page_files():
        shutil.copyfile(PAGE / name, page / name)
    for name in MODULES:
        shutil.copyfile(OURS / name, page / name)
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    for before, after in ((_POLICY, _OWN_POLICY), (_FOOTER, _OWN_FOOTER)):
        if html.count(before) != 1:
            raise ValueError(f"index.html does not contain {before!r} once")
        html = html.replace(before, after)
    (root / "index.html").write_text(html, encoding="utf-8")
    # `type` lets node read the modules; the versions are for whoever checks the folder.
    pinned = {package.name: package.version for package in (RUNTIME, TOKENIZERS)}
    manifest = {"private": True, "type": "module", "dependencies": pinned}
    (root / "package.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
