"""A Hub on this machine: repositories with commits, branches and large files, over the real protocol.

It also misbehaves on request: gated repositories, downloads cut off, a server that fails.
"""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE_SUFFIXES = (".safetensors", ".bin", ".pt", ".ckpt")
Files = dict[str, bytes]


@dataclass
class Repository:
    """Commits in order, and the branches and tags that point to them."""

    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: Files, message: str = "files", branch: str = "main") -> str:
        identity = sha1(f"{len(self.commits)}{message}{sorted(files)}".encode()).hexdigest()
        self.commits[identity] = files
        self.messages.append(message)
        self.revisions[branch] = identity
        return identity

    def find(self, revision: str) -> str | None:
        return self.revisions.get(revision) or (revision if revision in self.commits else None)


@dataclass
class LoopbackHub:
    """State of the server; tests change it while it runs.

    A request that begins with `stall_at` sets `stalled` and is answered once `go_on` is set.
    """

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large_files: Files = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cut_off: str = ""
    broken: bool = False
    stall_at: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def publish(self, name: str, folder: Path, branch: str = "main") -> Repository:
        """Commit the files of a folder."""
        repository = self.repositories.setdefault(name, Repository())
        paths = [path for path in folder.rglob("*") if path.is_file()]
        repository.commit({str(path.relative_to(folder)): path.read_bytes() for path in paths}, branch=branch)
        return repository


class _Answer(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers or {}
        self.body: bytes = body if isinstance(body, bytes) else json.dumps(body).encode()


def _refuse(status: int, code: str) -> _Answer:
    return _Answer(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    if path.endswith(LARGE_SUFFIXES):
        digest = sha256(content).hexdigest()
        entry |= {"oid": sha1(digest.encode()).hexdigest()}
        entry |= {"lfs": {"oid": digest, "size": len(content), "pointerSize": 130}}
    else:
        entry |= {"oid": sha1(b"blob %d\0" % len(content) + content).hexdigest()}
    return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.stall_at and f"{self.command} {path}".startswith(self.hub.stall_at):
            self.hub.stalled.set()
            self.hub.go_on.wait(60)
        try:
            if self.hub.broken:
                raise _Answer(500, b"out of order")
            raise self._route(urlsplit(self.path).path, body)
        except _Answer as answer:
            self._send(answer, cut=bool(self.hub.cut_off) and path.endswith(self.hub.cut_off))

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _send(self, answer: _Answer, cut: bool) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut:
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
            return
        self.wfile.write(answer.body)

    def _repository(self, name: str) -> Repository:
        repository = self.hub.repositories.get(name)
        signed_in = "Authorization" in self.headers
        if repository is None or (repository.private and not signed_in):
            raise _refuse(404 if signed_in else 401, "RepoNotFound")
        return repository

    def _route(self, path: str, body: bytes) -> _Answer:
        """Answer a path as it was sent: a slash within a revision or a branch is spelt %2F."""
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if match := re.fullmatch(r"/large/([0-9a-f]{64})", path):
            self.hub.large_files[match[1]] = body
            return _Answer(200)
        if match := re.fullmatch(r"/(\w+/[\w.-]+)\.git/info/lfs/objects/batch", path):
            return self._upload_places(json.loads(body)["objects"])
        if match := re.fullmatch(r"/api/models/(\w+/[\w.-]+)(?:/(\w+)/([^/]+).*)?", path):
            if match[2] == "branch":
                return self._branch(match[1], unquote(match[3]))
            return self._api(match[1], match[2] or "revision", unquote(match[3] or "main"), body)
        if match := re.fullmatch(r"(?:/api/resolve-cache/models)?/(\w+/[\w.-]+)/resolve/([^/]+)/(.+)", path):
            return self._file(*(unquote(part) for part in match.groups()))
        return _refuse(404, "no such route")

    def _create(self, wish: dict[str, Any]) -> _Answer:
        if "Authorization" not in self.headers:
            return _Answer(401, {"error": "Invalid username or password."})
        name = f"{wish['organization']}/{wish['name']}"
        repository = Repository(private=bool(wish.get("private") or wish.get("visibility") == "private"))
        repository.commit({}, "initial commit")
        created = self.hub.repositories.setdefault(name, repository) is repository
        return _Answer(200 if created else 409, {"url": f"{self.hub.endpoint}/{name}", "name": name})

    def _validate(self, card: str) -> _Answer:
        """Refuse a card without metadata, as the Hub does."""
        known = card.startswith("---\n") and "license:" in card
        return _Answer(200 if known else 400, {"errors": [] if known else [{"message": "no metadata"}], "warnings": []})

    def _upload_places(self, wanted: list[dict[str, Any]]) -> _Answer:
        objects = [
            {
                "oid": one["oid"],
                "size": one["size"],
                "actions": {"upload": {"href": f"{self.hub.endpoint}/large/{one['oid']}", "header": {}}},
            }
            for one in wanted
        ]
        return _Answer(200, {"transfer": "basic", "objects": objects})

    def _branch(self, name: str, branch: str) -> _Answer:
        repository = self._repository(name)
        known = branch in repository.revisions
        repository.revisions.setdefault(branch, repository.revisions["main"])
        return _Answer(409 if known else 201)

    def _api(self, name: str, action: str, revision: str, body: bytes) -> _Answer:
        repository = self._repository(name)
        identity = repository.find(revision)
        if identity is None:
            return _refuse(404, "RevisionNotFound")
        files = repository.commits[identity]
        if action == "revision":
            siblings = [{"rfilename": path} for path in sorted(files)]
            return _Answer(200, {"id": name, "sha": identity, "siblings": siblings, "private": False})
        if action == "tree":
            return _Answer(200, [_entry(path, content) for path, content in sorted(files.items())])
        if action == "preupload":
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(LARGE_SUFFIXES) else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return _Answer(200, {"files": modes})
        return self._commit(name, dict(files), revision, body)

    def _commit(self, name: str, files: Files, branch: str, body: bytes) -> _Answer:
        repository, message = self._repository(name), ""
        pull_request = 1 + sum(revision.startswith("refs/pr/") for revision in repository.revisions)
        opens = "create_pr=1" in urlsplit(self.path).query
        if opens:
            branch = f"refs/pr/{pull_request}"
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.large_files[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        identity = repository.commit(files, message, branch)
        url = f"{self.hub.endpoint}/{name}/commit/{identity}"
        answer = {"success": True, "commitUrl": url, "commitOid": identity, "hookOutput": ""}
        if opens:
            answer["pullRequestUrl"] = f"{self.hub.endpoint}/{name}/discussions/{pull_request}"
        return _Answer(200, answer)

    def _file(self, name: str, revision: str, path: str) -> _Answer:
        repository = self._repository(name)
        if repository.gated and "Authorization" not in self.headers:
            return _refuse(403, "GatedRepo")
        identity = repository.find(revision)
        if identity is None:
            return _refuse(404, "RevisionNotFound")
        content = repository.commits[identity].get(path)
        if content is None:
            return _refuse(404, "EntryNotFound")
        entry = _entry(path, content)
        tag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers = {"X-Repo-Commit": identity, "ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        part = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if part and self.command == "GET":
            start = int(part[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return _Answer(206, content[start:], headers)
        return _Answer(200, content, headers)


@contextmanager
def serve() -> Iterator[LoopbackHub]:
    """Run the server on a free port until the block ends."""
    hub = LoopbackHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
