"""The stand-in hub's write interface: repositories made, large files uploaded, and commits, with failures on request.

    with writable_hub(root) as hub:
        hub.failures["commit"] = 503

The steps are those of huggingface_hub: `create`, `validate`, `preupload`, `batch` (asks where large files go), `upload`
(one large file) and `commit`. A failure is an HTTP status, or CUT, which closes the connection without an answer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from support.hub import LARGE, Handler, Repo

CUT = 0
"""In place of a status: the connection is closed."""
TOKEN = "hf_stand_in"


@dataclass
class WritableHub:
    """A running hub."""

    root: Path
    url: str = ""
    failures: dict[str, int] = field(default_factory=dict)
    """Answer by step, in place of the usual one."""
    steps: list[str] = field(default_factory=list)
    """The steps that were asked for, in order."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    """Large files by their sha256, committed or not."""


@contextmanager
def writable_hub(root: Path) -> Iterator[WritableHub]:
    """Serve the repositories below `root`, and let the owner of TOKEN write to those of any name but `org`."""
    hub = WritableHub(Path(root))
    handler = type("Handler", (_Handler,), {"root": hub.root, "hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(Handler):
    hub: WritableHub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.split("?")[0]
        for pattern, step, answer in (
            (r"/api/repos/create", "create", self._create),
            (r"/api/validate-yaml", "validate", self._validate),
            (r"/api/models/([^/]+/[^/]+)/preupload/(\w+)", "preupload", self._preupload),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch", self._batch),
            (r"/api/models/([^/]+/[^/]+)/commit/(\w+)", "commit", self._commit),
        ):
            if match := re.fullmatch(pattern, path):
                if self._may(step, match[1] if match.groups() else None):
                    answer(body, *match.groups())
                return
        is_json = "json" in self.headers.get("Content-Type", "")
        super()._route(True, json.loads(body) if is_json else parse_qs(body.decode()))

    def _route(self, body: bool, form: dict[str, Any] | None = None) -> None:
        if self.headers.get("Authorization") in (None, f"Bearer {TOKEN}"):
            super()._route(body, form)
        else:
            self._refuse(401, "Unauthorized", "Invalid credentials in Authorization header")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._fails("upload"):
            return
        self.hub.uploads[hashlib.sha256(body).hexdigest()] = body
        self._json({}, True)

    def _fails(self, step: str) -> bool:
        """Answer with the failure of a step, if it has one."""
        self.hub.steps.append(step)
        failure = self.hub.failures.get(step)
        if failure == CUT:
            self.close_connection = True
        elif failure is not None:
            self._refuse(failure, "Injected", f"the stand-in answers {failure}")
        return failure is not None

    def _may(self, step: str, repository: str | None) -> bool:
        """Return whether a step is allowed; answer it if not."""
        if self._fails(step):
            return False
        if step == "validate":
            return True
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "Unauthorized", "Invalid credentials in Authorization header")
        elif repository is not None and not self._folder(repository).is_dir():
            self._refuse(404, "RepoNotFound", "Repository Not Found")
        elif repository is not None and repository.startswith("org/"):
            self._refuse(403, "Forbidden", "you do not have write access to org")
        else:
            return True
        return False

    def _folder(self, repository: str) -> Path:
        return self.root / "models" / repository

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        if asked["organization"] == "org":
            self._refuse(403, "Forbidden", "you do not have write access to org")
            return
        folder = self._folder(f"{asked['organization']}/{asked['name']}")
        if folder.is_dir():
            self._refuse(409, "Conflict", "You already created this model repo")
            return
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n", encoding="utf-8")
        if asked.get("visibility") == "private":
            (folder / ".private").touch()
        self._json({"url": f"{self.hub.url}/{asked['organization']}/{asked['name']}"}, True)

    def _validate(self, body: bytes) -> None:
        assert json.loads(body)["content"].startswith("---\n")
        self._json({"errors": [], "warnings": []}, True)

    def _preupload(self, body: bytes, repository: str, revision: str) -> None:
        repo = Repo(self._folder(repository))
        if revision != "main":
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        answers = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            entry = repo.entry(path) if path in repo.files else {}
            known = entry.get("lfs", entry).get("oid")
            mode = "lfs" if path.endswith(LARGE) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
        self._json({"files": answers}, True)

    def _batch(self, body: bytes, repository: str) -> None:
        objects = []
        for part in json.loads(body)["objects"]:
            action = {"upload": {"href": f"{self.hub.url}/upload/{part['oid']}", "header": {}}}
            objects.append(part | ({} if part["oid"] in self.hub.uploads else {"actions": action}))
        self._json({"objects": objects, "transfer": "basic"}, True)

    def _commit(self, body: bytes, repository: str, revision: str) -> None:
        folder = self._folder(repository)
        lines = [json.loads(line) for line in body.splitlines()]
        assert lines[0]["key"] == "header"
        present = Repo(folder).commit
        if lines[0]["value"].get("parentCommit", present) != present:
            self._refuse(412, "PreconditionFailed", "A commit has happened since")
            return
        writes: dict[str, bytes] = {}
        removed: list[str] = []
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                writes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                writes[value["path"]] = self.hub.uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                removed.append(value["path"])
        for path in removed:
            (folder / path).unlink()
        for path, content in writes.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        oid = Repo(folder).commit
        self._json({"commitUrl": f"{self.hub.url}/{repository}/commit/{oid}", "commitOid": oid}, True)


def files_of(hub: WritableHub, repository: str) -> set[str]:
    """Return the paths of a repository's files."""
    return set(Repo(hub.root / "models" / repository).files)


def content_of(hub: WritableHub, repository: str, path: str) -> Any:
    """Return a file of a repository: JSON parsed, others as text."""
    text = (hub.root / "models" / repository / path).read_text(encoding="utf-8")
    return json.loads(text) if path.endswith(".json") else text
