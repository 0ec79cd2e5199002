"""``openai:``: against a server that fails in every way, and against a real one."""

from __future__ import annotations

import http.server
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adder import Adder, comparable, config, rows
from llemma.backends import Request, open_backend
from llemma.backends import openai as module
from llemma.errors import BackendError, Caught, ConfigError
from llemma.evaluate.evaluate import evaluate
from llemma.records import Sampling
from llemma.run import read_json

HOW = Sampling(max_tokens=32, stop=("\n\n",))


class Server(http.server.ThreadingHTTPServer):
    """Answers as ``Adder`` does; ``faults`` names what goes wrong with a fifth of the calls."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, faults: tuple[str, ...] = (), share: float = 0.2) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults, self.share, self.dice = faults, share, random.Random(0)
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.broken: Counter[str] = Counter()
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # cut connections are its business


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.seen.append(body)
            server.headers.append(dict(self.headers))
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
            fault = server.dice.choice(server.faults) if server.faults and server.dice.random() < server.share else ""
            server.broken[fault] += 1
        try:
            self.answer(body, fault)
        finally:
            with server.lock:
                server.busy -= 1

    def answer(self, body: dict[str, Any], fault: str) -> None:
        if fault == "hang":
            self.server.closing.wait(3)
            self.close_connection = True
        elif fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif fault.isdecimal():
            later = {"Retry-After": "0.05"} if fault == "429" else {}
            self.send(int(fault), b'{"error": {"message": "out of luck"}}', later)
        else:
            made = json.dumps(self.made(body)).encode()
            if fault == "half":
                self.send(200, made[: len(made) // 2], length=len(made))
                self.close_connection = True
            elif fault == "truncated":
                self.send(200, made[: len(made) // 2])
            elif fault == "empty":
                self.send(200, b'{"choices": []}')
            else:
                self.send(200, made)

    def made(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        text = Adder().answer(Request(prompt=prompt, seed=body["seed"]), "").text + "\n\nQ: more"
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": 7, "completion_tokens": 12}
        return {"choices": [{**choice, "index": 0, "finish_reason": "stop"}], "usage": usage}

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length or len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    """``serve("500", "hang")`` starts a server with these faults."""
    running: list[Server] = []

    def start(*faults: str, share: float = 0.2) -> Server:
        server = Server(faults, share)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.005)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(server: Server, **options: Any) -> list[str]:
    backend = open_backend(f"openai:m@{server.url}", options)
    requests = [Request(prompt=f"Problem: {n} + 5", seed=n) for n in range(20)]
    return [made.text for made in backend.complete(requests, HOW)]


def test_completions_and_chat_give_the_same_text(serve: Any) -> None:
    server = serve()
    plain, chat = answers(server), answers(server, chat=True, system="Be brief.")
    assert plain == chat and len(set(plain)) > 5
    assert not any("\n\n" in text for text in plain)
    first, last = server.seen[0], server.seen[-1]
    assert {"model": "m", "max_tokens": 32, "temperature": 0.0, "top_p": 1.0, "stop": ["\n\n"]}.items() <= first.items()
    assert last["messages"][0] == {"role": "system", "content": "Be brief."} and "prompt" not in last


def test_a_completion_carries_tokens_finish_and_seconds(serve: Any) -> None:
    server = serve()
    backend = open_backend(f"openai:m@{server.url}")
    (made,) = backend.complete([Request(prompt="1 + 2", seed=2**62 + 5)], HOW)
    assert (made.tokens, made.prompt_tokens, made.finish) == (12, 7, "stop") and made.seconds > 0
    assert server.seen[0]["seed"] == 5
    assert dict(backend.info) == {
        "engine": "openai completions", "model": "m", "address": server.url, "system": "", "extra": "",
    }  # fmt: skip


def test_options_reach_the_request(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    monkeypatch.setenv("MY_KEY", "secret")
    answers(server, key_env="MY_KEY", extra={"top_k": 20}, limit_field="max_completion_tokens")
    assert server.seen[0]["top_k"] == 20 and server.seen[0]["max_completion_tokens"] == 32
    assert server.headers[0]["Authorization"] == "Bearer secret"
    with pytest.raises(ConfigError, match=r"unknown key engine\.concurency; did you mean engine\.concurrency"):
        open_backend(f"openai:m@{server.url}", {"concurency": 3})


def test_no_more_requests_at_once_than_asked_for(serve: Any) -> None:
    server = serve()
    answers(server, concurrency=3)
    assert server.most_busy <= 3
    server = serve()
    begin = time.monotonic()
    answers(server, requests_per_minute=3000)
    assert time.monotonic() - begin >= 19 * 60 / 3000


FAULTS = ("500", "503", "429", "hang", "cut", "half", "truncated", "empty")


def test_a_server_that_fails_a_fifth_of_the_calls_loses_no_sample(serve: Any, tmp_path: Path) -> None:
    settings = {"options": {"count": 40}, "samples": 4}
    evaluate(config(tmp_path / "whole", model=f"openai:m@{serve().url}", **settings))
    server = serve(*FAULTS)
    spec = f"openai:m@{server.url}"
    result = evaluate(
        config(tmp_path / "run", model=spec, engine={"timeout": 0.3, "concurrency": 16}, **settings)
    )  # fmt: skip
    assert result.tasks[0].errors == 0 and len(rows(tmp_path / "run")) == 160
    assert set(server.broken) == {"", *FAULTS}, server.broken  # each of them happened

    def of(folder: Path) -> list[Any]:
        return [{**json.loads(row), "engine": ""} for row in comparable(folder)]

    assert of(tmp_path / "run") == of(tmp_path / "whole")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_always_fails_is_a_lost_sample_with_its_reason(serve: Any, fault: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LONGEST_REST", 0.01)
    server = serve(fault, share=1.0)
    backend: Any = open_backend(f"openai:m@{server.url}", {"tries": 3, "timeout": 0.2})
    ((name, made),) = backend.stream([("x", Request(prompt="1 + 1"))], HOW)
    assert name == "x" and isinstance(made, Caught) and made.retryable and len(server.seen) == 3
    expected = {"hang": "timed out", "cut": "disconnect", "half": "peer closed", "truncated": "not an answer"}
    assert expected.get(fault, {"empty": "not an answer"}.get(fault, f"answered {fault}")) in made.message
    with pytest.raises(BackendError, match=r"127\.0\.0\.1"):
        backend.complete([Request(prompt="1 + 1")], HOW)


def test_a_refused_request_is_not_tried_again(serve: Any) -> None:
    server = serve("400", share=1.0)
    backend: Any = open_backend(f"openai:m@{server.url}")
    ((_, made),) = backend.stream([(0, Request(prompt="1 + 1"))], HOW)
    assert isinstance(made, Caught) and not made.retryable and len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "remedy"), [("401", "set OPENAI_API_KEY"), ("404", "check the address and the mod")]
)
def test_a_wrong_key_or_model_stops_at_once(serve: Any, status: str, remedy: str, tmp_path: Path) -> None:
    server = serve(status, share=1.0)
    with pytest.raises(ConfigError, match=f"answered {status}: {remedy}"):
        evaluate(config(tmp_path, model=f"openai:m@{server.url}"))
    assert rows(tmp_path) == [] if (tmp_path / "rows.jsonl").exists() else True


def test_another_address_takes_over(serve: Any) -> None:
    alive, failing = serve(), serve("500", share=1.0)
    dead = f"http://127.0.0.1:{free_port()}/v1"
    backend = open_backend(f"openai:m@{dead},{failing.url},{alive.url}", {"concurrency": 4})
    requests = [Request(prompt=f"{n} + 1", seed=n) for n in range(40)]
    assert len(backend.complete(requests, HOW)) == 40
    assert len(alive.seen) == 40
    assert len(failing.seen) < 40  # it rests


def test_several_addresses_share_the_work(serve: Any) -> None:
    servers = [serve(), serve()]
    backend = open_backend("openai:m@" + ",".join(server.url for server in servers), {"concurrency": 8})
    backend.complete([Request(prompt=f"{n} + 1", seed=n) for n in range(100)], HOW)
    assert min(len(server.seen) for server in servers) >= 20


def test_a_run_goes_on_at_another_address(serve: Any, tmp_path: Path) -> None:
    evaluate(config(tmp_path, model=f"openai:m@{serve().url}", limit=5))
    server = serve()
    result = evaluate(config(tmp_path, model=f"openai:m@{server.url}", engine={"concurrency": 2}))
    assert result.tasks[0].metrics[0].n == 12 and len(server.seen) == 7 * 4
    assert read_json(tmp_path / "config.json")["settings"]["limit"] is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("m", "is not of the form openai:MODEL@URL"),
        ("@http://x/v1", "is not of the form"),
        ("m@", "is not of the form"),
        ("m@localhost:8000", "is not an http address"),
        ("m@http://me:secret@x/v1", "put the key into the environment"),
    ],
)
def test_a_wrong_target_is_named(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_backend(f"openai:{target}")


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), ("", None)]
)
def test_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert module._rest(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    assert 50 < (module._rest(later) or 0) <= 60
    assert module._rest("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


# --- a real server

SERVED = ("fastapi", "uvicorn", "openai", "accelerate")


def wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    import httpx

    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            httpx.get(f"{url}/models", timeout=5)  # answers 500 without a hub cache; it is up then
            return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A tiny model's folder and the address where ``transformers serve`` offers it."""
    for name in SERVED:
        pytest.importorskip(name, reason=f"needs a real server; enable with: pip install {' '.join(SERVED)}")
    from tiny import save_tiny

    folder = save_tiny(tmp_path_factory.mktemp("served") / "model")
    port = free_port()
    # what `transformers serve FOLDER` runs, without the packages that only its other commands need
    start = "from transformers.cli.serve import Serve; import sys; folder, port = sys.argv[1:]\n"
    start += "Serve(folder, host='127.0.0.1', port=int(port), device='cpu', dtype='float32')"
    process = subprocess.Popen(
        [sys.executable, "-c", start, str(folder), str(port)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        wait_for(process, url)
        yield folder, url
    finally:
        process.terminate()
        process.wait(30)


GREEDY: dict[str, Any] = {"samples": 1, "options": {"count": 12, "shots": 1}, "max_tokens": 24}


@pytest.mark.slow
def test_a_real_server_gives_what_the_model_gives_in_process(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    evaluate(config(tmp_path / "hf", model=f"hf:{folder}", batch=1, **GREEDY))
    result = evaluate(config(tmp_path / "served", model=f"openai:{folder}@{url}", engine={"concurrency": 2}, **GREEDY))
    assert result.tasks[0].errors == 0
    here, there = texts(tmp_path / "hf"), texts(tmp_path / "served")
    assert here == there and len(set(here.values())) > 5
    stored = rows(tmp_path / "served")
    assert all(row["prompt_tokens"] > 10 and row["transcript"]["tokens"] > 0 for row in stored)
    assert all(row["engine"] == "openai completions" for row in stored)


@pytest.mark.slow
def test_in_larger_batches_only_near_ties_differ(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    evaluate(config(tmp_path / "hf", model=f"hf:{folder}", batch=16, **GREEDY))
    evaluate(config(tmp_path / "served", model=f"openai:{folder}@{url}", **GREEDY))
    here, there = texts(tmp_path / "hf"), texts(tmp_path / "served")
    gaps = [gap(folder, prompt, here[prompt], there[prompt]) for prompt in here if here[prompt] != there[prompt]]
    print(f"{len(gaps)} of {len(here)} texts differ; logit gaps: {gaps}")
    assert all(distance < 1e-3 for distance in gaps)


def texts(run: Path) -> dict[str, str]:
    return {row["prompt"]: row["transcript"]["text"] for row in rows(run)}


def gap(folder: Path, prompt: str, one: str, other: str) -> float:
    """The distance of the logits of the two tokens at which two continuations part."""
    import torch

    from llemma.models.checkpoint import load_model
    from llemma.tokens.tokenizer import load_tokenizer

    tokenizer, model = load_tokenizer(folder), load_model(folder).eval()
    start, a, b = (tokenizer.encode(text) for text in (prompt, one, other))
    part = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    with torch.no_grad():
        logits = model(torch.tensor([start + a[:part]]))[0, -1]
    end = tokenizer.end_id
    return abs(float(logits[a[part] if part < len(a) else end] - logits[b[part] if part < len(b) else end]))
