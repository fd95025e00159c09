"""A stand-in for a refining model: it writes programs by rule, in process or behind a server.

Of a document it says drop_doc() where MARK-NOTHING occurs. Of a chunk it removes the lines that
begin with a menu's words and replaces ``&amp;``. Marks in what is shown change that: MARK-PROSE (no
program), MARK-CUT (the reply breaks off at the token limit), MARK-FENCED (in a code fence),
MARK-REFUSE (no answer).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from curation.annotate.model import Reply, Request

MENU = re.compile(r"(Home|Share|Cookie|\* \[|- \[)")
LINE = re.compile(r"\[(\d{3,})\](.*)")


def answer(messages: Sequence[tuple[str, str]]) -> Reply:
    """Return what the model says to a conversation."""
    system, shown = messages[0][1], messages[-1][1]
    if "MARK-REFUSE" in shown:
        return Reply(error="the context is too long")
    if "drop_doc()" in system or "[doc]" not in shown:
        return Reply(text="drop_doc()" if "MARK-NOTHING" in shown else "keep_doc()", finish="stop")
    if "MARK-PROSE" in shown:
        return Reply(text="This is a fine text.\nI would not\nchange it.", finish="stop")
    text = "\n".join(operations(shown)) or "keep_all()"
    if "MARK-FENCED" in shown:
        text = f"```python\n{text}\n```"
    return Reply(text=text, finish="length" if "MARK-CUT" in shown else "stop")


def operations(shown: str) -> list[str]:
    numbered = [found.groups() for found in map(LINE.fullmatch, shown.split("\n")) if found]
    made = [
        f"remove_lines(start={int(at)}, end={int(at)})" for at, line in numbered if MENU.match(line)
    ]
    if "&amp;" in shown:
        made.append('normalize(source_str="&amp;", target_str="&")')
    return made


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """The model in process."""

    name: str = "stand-in"

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        return [answer(request.messages) for request in requests]

    def facts(self) -> Mapping[str, object]:
        return {"model": self.name, "seed": 3}


@contextmanager
def refining() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the model behind OpenAI's chat completions; yield its address and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            reply = answer([(one["role"], one["content"]) for one in body["messages"]])
            data = json.dumps(completion(reply)).encode()
            self.send_response(400 if reply.error else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(reply: Reply) -> dict[str, Any]:
    if reply.error is not None:
        return {"error": {"message": reply.error, "type": "stand-in", "code": None}}
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish, "logprobs": None}
    usage = {"prompt_tokens": 9, "completion_tokens": len(reply.text.split())}
    return {
        "id": "stand-in",
        "object": "chat.completion",
        "created": 0,
        "model": "stand-in",
        "choices": [choice],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }
