"""A chat API on loopback that misbehaves as its model name tells it to."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-sentinel-0123456789"
"""What a client sends and nobody may write down."""

GOOD = {
    "reply": "Rain, then a dog.",
    "mode": "new",
    "duration": 8,
    "events": [
        {"id": "", "prompt": "Rain falls", "start": 0, "end": 8, "level": -26, "layer": "background", "kind": "sfx"},
        {"id": "", "prompt": "A dog barks", "start": 4, "end": 8, "level": -18, "layer": "foreground", "kind": "sfx"},
    ],
}


def completion(content: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    """A chat completion with one choice."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "loopback",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }


def _error(message: str, code: str = "") -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "code": code, "param": None}}


_GOOD = json.dumps(GOOD)
# Model name -> (status, body); what depends on the request is in `_Handler._answer`.
_FIXED: dict[str, tuple[int, Any]] = {
    "ok": (200, completion(_GOOD)),
    "fenced": (200, completion(f"Here you are:\n```json\n{_GOOD}\n```")),
    "thinking": (200, completion(f'<think>{{"events": []}}</think>{_GOOD}')),
    "no-steps": (200, completion('{"events": []}')),
    "prose": (200, completion("I would begin with rain.")),
    "null": (200, completion(None)),
    "nan": (200, completion('{"events": [{"prompt": "a", "start": NaN, "end": 2}]}')),
    "asks": (200, completion('{"reply": "Which dog?", "mode": "ask", "duration": 8, "events": []}')),
    "declines": (200, completion('{"reply": "Not this.", "mode": "refuse", "duration": 8, "events": []}')),
    "refusal": (200, completion(None, refusal="I will not.")),
    "filter": (200, completion("", "content_filter")),
    "length": (200, completion(_GOOD[:40], "length")),
    "no-choices": (200, {**completion(""), "choices": []}),
    "null-choices": (200, {**completion(""), "choices": None}),
    "html": (200, b"<html>log in</html>"),
    "cut-json": (200, b'{"choices": ['),
    "huge": (200, b"x" * 3_000_000),
    "401": (401, _error("Incorrect API key provided: sk-test-sentinel-0123456789.", "invalid_api_key")),
    "403": (403, _error("no access")),
    "404": (404, _error("The model does not exist.", "model_not_found")),
    "quota": (429, _error("You exceeded your current quota", "insufficient_quota")),
    "limited": (429, _error("Rate limit reached")),
    "500": (500, _error("boom")),
    "context": (400, _error("maximum context length is 10 tokens", "context_length_exceeded")),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "ChatServer"

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((dict(self.headers), body))
        self._answer(body["model"], body)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json" if data[:1] != b"<" else "text/html")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, model: str, body: dict[str, Any]) -> None:
        count = self.server.counts[model] = self.server.counts.get(model, 0) + 1
        form = body.get("response_format", {}).get("type", "text")
        if model in _FIXED:
            self._send(*_FIXED[model])
        elif model == "says":
            self._send(200, completion(self.server.says))
        elif model.startswith("only-"):
            ok = form == model.removeprefix("only-")
            self._send(200, completion(_GOOD)) if ok else self._send(400, _error(f"response_format {form} unknown"))
        elif model == "limited-once":
            self._send(429, _error("slow down"), {"retry-after": "0.05"}) if count == 1 else self._send(
                200, completion(_GOOD)
            )
        elif model == "limited-long":
            self._send(429, _error("slow down"), {"retry-after": "119"})
        elif model == "prose-once":
            self._send(200, completion("Rain!" if count == 1 else _GOOD))
        elif model == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif model == "slow":
            time.sleep(3)
        elif model in ("drip", "drop"):
            data = json.dumps(completion(_GOOD)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            for byte in data[:40] if model == "drop" else data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.0 if model == "drop" else 0.2)
            self.close_connection = True


class ChatServer(ThreadingHTTPServer):
    """`with ChatServer() as server:` serves on `server.url` and keeps every request as `(headers, body)`.

    The model "says" answers with the text in `says`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.counts: dict[str, int] = {}
        self.says = _GOOD

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *args: Any) -> None:
        """A client that hangs up is part of the game."""

    def __enter__(self) -> "ChatServer":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: Any) -> None:
        self.shutdown()
        self.server_close()
