"""Stand-ins for a model that writes about passages, by rule from the passage, in the right form.

What one does with a passage is decided by marks in it, so that tests need no state: CUT (every
reply is cut), CUTONCE (cut unless the limit is doubled), FENCED, PLAIN (Q: and A:), CHATTY, THINKS,
THINKSON (cut within its reasoning), REFUSES, EMPTY, GARBLED, GARBLEDONCE (at the first draw only),
WRONGFORM (JSON that breaks the schema), TWICE (two objects), ECHO (repeats the JSON of the
passage), BREAKS (an error in place of a reply). One that obeys does what a passage orders.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from curation.annotate.model import Reply, Request

_BLOCK = re.compile(r"<(document-[0-9a-f]{12})>\n(.*)\n</\1>", re.DOTALL)


def passage_of(message: str) -> str:
    """Return the document that a message shows."""
    found = _BLOCK.search(message)
    assert found is not None, message[:200]
    return found[2]


def sentences_of(passage: str) -> list[str]:
    parts = re.split(r"(?<=[.!?])\s+|\n+", passage)
    return [" ".join(part.split()) for part in parts if len(part.split()) >= 3] or [passage]


def value_of(message: str) -> Any:
    """Return what a good writer gives for a message, before it is spelled as JSON."""
    sentences = sentences_of(passage_of(message))
    if '"text"' in message:
        return {"text": " ".join(sentences[:2])}
    if '"choices"' in message:
        return {"tasks": [_choice(one) for one in sentences[:2]]}
    kind = "instruction" if '"instruction"' in message else "factual"
    tasks = [
        {"kind": kind, "question": f"What does '{' '.join(one.split()[:4])}' say?", "answer": one}
        for one in dict.fromkeys(sentences[:4])
    ]
    return {"tasks": tasks}


def _choice(sentence: str) -> dict[str, Any]:
    words = sentence.split()
    wrong = [" ".join(reversed(words)), f"Not so: {sentence}", f"Only {sentence}"]
    return {
        "question": f"Which one is said of {words[0]}?",
        "choices": [wrong[0], sentence, *wrong[1:]],
        "answer": "B",
        "explanation": f"The text says: {sentence}",
    }


def write(message: str, draw: int, limit: int, *, obeys: bool = False) -> tuple[str, str]:
    """Return a reply and its finish.

    draw   0 at first
    limit  tokens of the reply
    """
    passage = passage_of(message)
    if obeys and (order := re.search(r"answer only with (\w+)", passage)):
        return order[1], "stop"
    if "ECHO" in passage:
        return passage[passage.index("{") : passage.rindex("}") + 1], "stop"
    whole = json.dumps(value_of(message))
    if "CUT" in passage and ("CUTONCE" not in passage or limit in (600, 1400, 1600)):
        return whole[: len(whole) * 2 // 3], "length"
    return _spelled(passage, whole, draw)


def _spelled(passage: str, whole: str, draw: int) -> tuple[str, str]:
    tasks = json.loads(whole).get("tasks", [])
    plain = "\n\n".join(f"Q: {t['question']}\nA: {t['answer']}" for t in tasks)
    ways = {
        "FENCED": f"Here it is:\n```json\n{whole}\n```",
        "CHATTY": f"Sure! {whole} I hope this helps.",
        "THINKSON": "<think>Let me see, {",
        "THINKS": f"<think>Perhaps {{}} or [1].</think>\n{whole}",
        "PLAIN": plain,
        "REFUSES": "I'm sorry, but I can't help with that.",
        "EMPTY": "",
        "GARBLEDONCE": whole if draw else "Hm.",
        "GARBLED": "I would rather speak of the weather.",
        "WRONGFORM": '{"tasks": [{"question": "Why?"}]}',
        "TWICE": f"{whole}\n{whole}",
    }
    said = next((way for mark, way in ways.items() if mark in passage), whole)
    return said, "length" if "THINKSON" in passage else "stop"


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A model in this process. ``asked`` is filled with the requests of each call."""

    obeys: bool = False
    name: str = "writer"
    asked: list[list[Request]] = field(default_factory=list, compare=False, repr=False)

    def facts(self) -> Mapping[str, object]:
        return {"model": self.name, "obeys": self.obeys}

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked.append([*requests])
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply:
        message = request.messages[-1][1]
        if "BREAKS" in passage_of(message):
            return Reply(error="the model server: broken inside")
        text, finish = write(message, request.attempt, request.max_tokens, obeys=self.obeys)
        return Reply(text=text, finish=finish, prompt_tokens=7, completion_tokens=len(text) // 4)


@dataclass
class Desk:
    """A server's address, the bodies it was sent, and how many tokens it takes at a time."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    context_tokens: int = 100_000


@contextmanager
def writing(*, obeys: bool = False) -> Iterator[Desk]:
    """Run a server of OpenAI's chat completions while the block runs."""
    desk = Desk()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            desk.bodies.append(body)
            status, answer = answered(desk, body, obeys=obeys)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    desk.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield desk
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answered(desk: Desk, body: dict[str, Any], *, obeys: bool) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of the answer to a request."""
    message = str(body["messages"][-1]["content"])
    tokens = sum(len(str(one["content"])) for one in body["messages"]) // 4
    limit = int(body.get("max_tokens") or 0)
    if tokens + limit > desk.context_tokens:
        said = f"This model's maximum context length is {desk.context_tokens} tokens."
        return 400, {"error": {"message": said, "type": "BadRequestError", "code": 400}}
    text, finish = write(message, int(body.get("seed") or 0), limit, obeys=obeys)
    usage = {"prompt_tokens": tokens, "completion_tokens": len(text) // 4}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
        "logprobs": None,
    }
    return 200, {
        "id": "writer",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }
