"""A stand-in for the Hugging Face hub on 127.0.0.1: enough of its protocol for huggingface_hub and datasets.

    with standin_hub(root) as url:
        subprocess.run([...], env=hub_environment(url, home))

Repositories are folders: `root/models/org/name/...` and `root/datasets/org/name/...`. The commit is the hash
of a repository's content, so it changes with the files; revisions are `main` and this commit. Files with a suffix of
LARGE are served like the hub's large files, under their sha256. A file `.gated` makes a repository gated, a file
`.private` private. `hub_writes` adds the interface that writes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

MARKS = (".gated", ".private")
LARGE = (".safetensors", ".parquet", ".bin", ".arrow")


@contextmanager
def standin_hub(root: Path) -> Iterator[str]:
    """Serve the repositories below `root` until the block ends; yields the address for HF_ENDPOINT."""
    handler = type("Handler", (Handler,), {"root": Path(root)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hub_environment(url: str | None, home: Path) -> dict[str, str]:
    """Return the environment of a process that uses the stand-in, or no hub if `url` is None.

    Args:
        url: address from `standin_hub`, or None.
        home: the folder of the hub's caches.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    offline = {"HF_HUB_OFFLINE": "1"} if url is None else {"HF_ENDPOINT": url}
    return kept | offline | {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}


class Repo:
    """One repository at its only commit."""

    def __init__(self, folder: Path) -> None:
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in MARKS)
        self.files = {file.relative_to(folder).as_posix(): file for file in files}
        self.gated, self.private = ((folder / mark).exists() for mark in MARKS)
        content = hashlib.sha1()
        for path, file in self.files.items():
            content.update(f"{path} {_hashed(file)} ".encode())
        self.commit = content.hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        file = self.files[path]
        entry = {"type": "file", "path": path, "size": file.stat().st_size, "oid": _git_hash(file)}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": _hashed(file), "size": entry["size"], "pointerSize": 134}
        return entry

    def card(self) -> dict[str, Any] | None:
        text = self.files["README.md"].read_text(encoding="utf-8") if "README.md" in self.files else ""
        return yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None


class Handler(BaseHTTPRequestHandler):
    """Answers requests that read."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route(body=True)

    def do_HEAD(self) -> None:
        self._route(body=False)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        json_body = "json" in self.headers.get("Content-Type", "")
        self._route(body=True, form=json.loads(content) if json_body else parse_qs(content))

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def _route(self, body: bool, form: dict[str, Any] | None = None) -> None:
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        is_api = parts[0] == "api"
        parts = parts[1:] if is_api else parts
        kind = parts.pop(0) if parts[0] in ("models", "datasets") else "models"
        folder = self.root / kind / "/".join(parts[:2])
        if len(parts) < 2 or not folder.is_dir():
            self._refuse(401, "RepoNotFound", "Repository Not Found")
            return
        repo, rest = Repo(folder), parts[2:] or ["revision", "main"]
        verb, revision, path = rest[0], rest[1] if len(rest) > 1 else "main", "/".join(rest[2:])
        if repo.gated and not is_api:
            self._refuse(403, "GatedRepo", "Access to this repository is restricted")
        elif revision not in ("main", repo.commit):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif is_api:
            query = parse_qs(address.query)
            self._json(self._answer(repo, "/".join(parts[:2]), verb, path, form or {}, query), body)
        elif verb == "resolve" and path in repo.files:
            self._file(repo, path, body)
        else:
            self._refuse(404, "EntryNotFound", "Entry not found", repo.commit)

    def _answer(
        self,
        repo: Repo,
        name: str,
        verb: str,
        path: str,
        form: dict[str, Any] | None,
        query: dict[str, list[str]],
    ) -> Any:
        if verb == "revision":
            names = [
                {"rfilename": file} | (_blob(repo.entry(file)) if "blobs" in query else {})
                for file in repo.files
            ]
            common = {
                "id": name,
                "modelId": name,
                "sha": repo.commit,
                "private": repo.private,
                "gated": False,
            }
            return common | {"siblings": names, "tags": [], "downloads": 0, "cardData": repo.card()}
        if verb == "tree":
            recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            inside = [file for file in repo.files if not path or file.startswith(f"{path}/")]
            depth = len(path.split("/")) if path else 0
            flat = [file for file in inside if recursive or file.count("/") == depth]
            return _folders(inside, depth, recursive) + [repo.entry(file) for file in flat]
        if verb == "paths-info":
            wanted = form.get("paths", [])
            wanted = [wanted] if isinstance(wanted, str) else wanted
            folders = {entry["path"]: entry for entry in _folders(list(repo.files), 0, True)}
            known = [repo.entry(file) if file in repo.files else folders.get(file) for file in wanted]
            return [entry for entry in known if entry]
        return []

    def _file(self, repo: Repo, path: str, body: bool) -> None:
        file = repo.files[path]
        data = file.read_bytes()
        start, end, status = 0, len(data) - 1, 200
        if span := self.headers.get("Range"):
            first, last = span.removeprefix("bytes=").split("-")
            start, end, status = int(first), int(last) if last else end, 206
        etag = _hashed(file) if path.endswith(LARGE) else _git_hash(file)
        self.send_response(status)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        part = data[start : end + 1]
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part)

    def _json(self, value: Any, body: bool) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        self.send_response(status)
        if commit is not None:  # with it, huggingface_hub caches that this commit has no such file
            self.send_header("X-Repo-Commit", commit)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _blob(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the hub says of a file when it is asked for the metadata of all files."""
    large = entry.get("lfs")
    lfs = {"sha256": large["oid"], "size": large["size"], "pointerSize": 134} if large else None
    return {"size": entry["size"], "blobId": entry["oid"]} | ({"lfs": lfs} if lfs else {})


def _folders(files: list[str], depth: int, recursive: bool) -> list[dict[str, Any]]:
    """Return the entries of the folders that files lie in, below `depth` levels."""
    found = set()
    for file in files:
        parts = file.split("/")[:-1]
        for length in range(depth + 1, (len(parts) if recursive else min(len(parts), depth + 1)) + 1):
            found.add("/".join(parts[:length]))
    return [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(found)]


def _hashed(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git_hash(file: Path) -> str:
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
