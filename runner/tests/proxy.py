"""An HTTP proxy on a Unix socket with one scripted OpenAI-compatible model behind every name."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Proxy:
    """Records the request line and body of everything that comes through."""

    path: Path
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def start(self) -> Proxy:
        """Listen."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        self.path.chmod(0o777)
        listener.listen(16)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rwb") as stream:
            while line := stream.readline().decode():
                headers = {}
                while (header := stream.readline().decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                raw = stream.read(int(headers.get("content-length", 0)))
                body = json.loads(raw) if raw else {}
                self.requests.append((line.strip(), body))
                if line.startswith("CONNECT"):
                    stream.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    stream.flush()
                    return
                stream.write(_answer(body))
                stream.flush()


def _answer(body: dict[str, Any]) -> bytes:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    base = {"id": "c1", "created": 1, "model": body.get("model", "m")}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "Hi there"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        return _http("application/json", json.dumps(whole))
    deltas = [{"role": "assistant", "content": ""}, {"content": "Hi"}, {"content": " there"}, {}]
    events = [
        {
            **base,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}],
        }
        for delta in deltas
    ]
    events.append({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return _http("text/event-stream", text)


def _http(kind: str, text: str) -> bytes:
    data = text.encode()
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
