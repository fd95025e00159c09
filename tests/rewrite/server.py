"""A local stand-in for a model server: it speaks OpenAI's chat completions and answers by rule.

What it does is decided by marks in the last message, so that tests need no state: REFUSE (400),
FLAGGED (403), BROKEN (500), LATE (504), SLOW (sleeps), NOTJSON, NOCHOICE, GARBLED (a reply
that cannot be read), GARBLEDONCE (at the first draw only), HIGH (a grade out of range), LONG (cut),
NOLOGPROBS, ABORT (broken off), LOSE (the connection is closed), ECHO (a reply that belongs to this
text and seed alone). Grades grow with the number of times that "good" occurs. Faults at random fall
on ``fault_frac`` of all.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from curation.annotate.rubrics import DATAMAN_CRITERIA

#: What a faulty server does in place of an answer.
FAULTS = ("before", "middle", "429", "503", "500", "page", "garbage", "empty", "slow")


@dataclass
class Stand:
    """The server's address, what it was asked, and how it behaves to everybody.

    failing    status → how often it is given before requests are answered
    always     status given to all, 200 for a proxy's page; 0 for none
    headers    of answers that are no 200, beside Retry-After at 429
    logprobs   told, ignored (left out), or refused (400)
    schemas    kept, refused (400), or found to be wrong (400)
    fault_frac share of requests that meet one of FAULTS, drawn by their number and ``fault_seed``
    faults     fault → how often it was met
    answers    how many were answered
    times      when each request came, by time.monotonic
    """

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    failing: dict[int, int] = field(default_factory=dict)
    always: int = 0
    headers: dict[str, str] = field(default_factory=lambda: {"Retry-After": "0.05"})
    logprobs: str = "told"
    schemas: str = "kept"
    fault_frac: float = 0.0
    fault_seed: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    times: list[float] = field(default_factory=list)
    connections: set[socket.socket] = field(default_factory=set)
    slow_s: float = 5.0
    dropped: int = 0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def texts(self) -> list[str]:
        """Return the last message of each request."""
        return [str(body["messages"][-1]["content"]) for body in self.requests]


@contextmanager
def standing(port: int = 0) -> Iterator[Stand]:
    """Run the server while the block runs; at the end every connection is cut."""
    stand = Stand()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def setup(self) -> None:
            stand.connections.add(self.request)
            super().setup()

        def finish(self) -> None:
            stand.connections.discard(self.request)
            super().finish()

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            with stand.lock:
                stand.requests.append({**body, "key": self.headers["Authorization"]})
                stand.times.append(time.monotonic())
                stand.at_once += 1
                stand.most_at_once = max(stand.most_at_once, stand.at_once)
                fault = fault_of(stand, len(stand.requests))
            try:
                if fault == "slow":
                    time.sleep(stand.slow_s)
                status, answer = answer_to(stand, body) if fault in ("", "slow") else wrong(fault)
                self.reply(status, answer, cut=fault == "middle")
            except (BrokenPipeError, ConnectionResetError):
                stand.dropped += 1
            finally:
                with stand.lock:
                    stand.at_once -= 1

        def reply(self, status: int, answer: str, *, cut: bool) -> None:
            if not status:
                self.close_connection = True
                return
            data = answer.encode()
            head = {"Content-Type": "text/html" if answer.startswith("<") else "application/json"}
            head["Content-Length"] = str(len(data))
            head |= stand.headers if status == 429 else {}
            self.send_response(status)
            for name, value in head.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection |= cut
            with stand.lock:
                stand.answers += status == 200 and not cut

    class Server(ThreadingHTTPServer):
        request_queue_size = 256  # connections that come at once are not refused
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a connection that was cut

    server = Server(("127.0.0.1", port), Handler)
    stand.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand
    finally:
        server.shutdown()
        server.socket.close()
        for connection in list(stand.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()


def fault_of(stand: Stand, number: int) -> str:
    """Return the fault that the request of this number meets; an empty text for none."""
    drawn = random.Random(f"{stand.fault_seed} {number}")
    if drawn.random() >= stand.fault_frac:
        return ""
    fault = drawn.choice(FAULTS)
    stand.faults[fault] = stand.faults.get(fault, 0) + 1
    return fault


def wrong(fault: str) -> tuple[int, str]:
    """Return the status and the body of what is no answer; status 0 for none at all."""
    answers = {
        "before": (0, ""),
        "middle": (200, json.dumps(completion({"model": "m"}, "good", told=False))),
        "page": (200, "<html><body>a proxy</body></html>"),
        "garbage": (200, '{"id": 1, "choices": [{"mess'),
        "empty": (200, json.dumps({"id": "1", "object": "chat.completion", "choices": []})),
    }
    return answers.get(fault) or (int(fault), error("by chance"))


def answer_to(stand: Stand, body: dict[str, Any]) -> tuple[int, str]:
    """Return the status and the body of the answer to a request."""
    text = str(body["messages"][-1]["content"])
    with stand.lock:
        for status, left in stand.failing.items():
            if left:
                stand.failing[status] -= 1
                return status, error("not now")
    if stand.always == 200:
        return wrong("page")
    if stand.always:
        return stand.always, error("never")
    if stand.logprobs == "refused" and body.get("logprobs"):
        return 400, error("logprobs are not supported by this model")
    if stand.schemas == "refused" and body.get("response_format"):
        return 400, error("response_format is not supported")
    if stand.schemas == "wrong" and body.get("response_format"):
        return 400, error("Invalid schema for response_format 'reply': 'strin' is no type")
    if "LOSE" in text:
        return 0, ""
    if "REFUSE" in text:
        return 400, error("this model's maximum context length is 4096 tokens")
    if "FLAGGED" in text:
        return 403, error("input was flagged")
    if "BROKEN" in text:
        return 500, error("inside")
    if "LATE" in text:
        return 504, error("a proxy's 504")
    if "SLOW" in text:
        time.sleep(stand.slow_s)
    if "NOTJSON" in text:
        return 200, "<html>a proxy</html>"
    if "NOCHOICE" in text:
        return 200, json.dumps({"id": "1", "object": "chat.completion", "choices": []})
    return 200, json.dumps(completion(body, text, told=stand.logprobs == "told"))


def error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "stand-in", "code": None}})


def completion(body: dict[str, Any], text: str, *, told: bool) -> dict[str, Any]:
    said = reply_to(text, int(body.get("seed") or 0))
    if body.get("response_format"):
        said = json.dumps({"reply": said})
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": said},
        "finish_reason": "length" if "LONG" in text else "abort" if "ABORT" in text else "stop",
        "logprobs": None,
    }
    if body.get("logprobs") and told and "NOLOGPROBS" not in text:
        choice["logprobs"] = {"content": [first_token(text)]}
    usage = {"prompt_tokens": len(text.split()), "completion_tokens": len(said.split())}
    usage["total_tokens"] = sum(usage.values())
    return {
        "id": "stand-in",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


def goodness(text: str) -> int:
    excerpt = re.search(r"<excerpt>(.*)</excerpt>", text, re.DOTALL)
    text = excerpt[1] if excerpt else text  # a prompt may say "good" too
    return min(5, len(re.findall(r"\bgood\b", text)))


def reply_to(text: str, seed: int) -> str:
    """Return the reply: an echo, a comparison, DataMan's lines, yes or no, or a grade."""
    if "ECHO" in text:
        return f"echo {hashlib.sha256(f'{seed} {text}'.encode()).hexdigest()}"
    if "GARBLEDONCE" in text:
        return "Hm." if seed == 0 else "Educational score: 1"
    if "GARBLED" in text:
        return "I would rather speak of the weather."
    if "<text A>" in text:
        first, second = re.findall(r"<text [AB]>(.*?)</text [AB]>", text, re.DOTALL)
        if "ALWAYSA" in text:
            return "A"
        if goodness(first) == goodness(second):
            return "I cannot tell."
        return "A" if goodness(first) > goodness(second) else "B"
    if "OPTIONS:" in text:
        return "yes" if goodness(text) else "no"
    if "name its domain" in text:
        grade = max(1, goodness(text))
        lines = [f"{name.replace('_', ' ').capitalize()}: {grade}/5" for name in DATAMAN_CRITERIA]
        return "\n".join(["Domain: Medicine", *lines])
    grade = 9 if "HIGH" in text else goodness(text)
    return f"It is so.\n\nEducational score: {grade}"


def first_token(text: str) -> dict[str, Any]:
    """Return the alternatives: yes in two spellings, no, and a word between."""
    share = 0.1 + 0.8 * goodness(text) / 5
    shares = {"yes": 0.75 * share, " Yes": 0.25 * share, "no": 0.95 - share, "Well": 0.05}
    tops = [
        {"token": token, "logprob": math.log(prob), "bytes": None} for token, prob in shares.items()
    ]
    return {**tops[0], "top_logprobs": tops}
