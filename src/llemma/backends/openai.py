"""Any server with OpenAI's interface: openai:MODEL@URL[,URL…], e.g. openai:llemma@http://localhost:8000/v1.

vLLM, SGLang, llama.cpp, ``transformers serve`` and the commercial ones speak it. Completions by default, chat with
``engine.chat=true``. Many requests run at once; a call that fails in a way that may pass (refused or cut connection,
5xx, 429, an answer that is not whole) is tried again with growing, jittered pauses, elsewhere when there are several
addresses; an address that fails again and again rests. ``Retry-After`` is kept. The key is read from the environment,
never stored. Prompts too long for the model are the server's business: an address of vLLM cuts them on the left with
``engine.extra.truncate_prompt_tokens=N``.
"""

from __future__ import annotations

import email.utils
import os
import queue
import random
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from llemma.backends import Request, cut
from llemma.config import setting
from llemma.errors import BackendError, Caught, ConfigError, MissingDependency, RunError, boundary
from llemma.records import Completion, Sampling

T = TypeVar("T")

FIRST_PAUSE = 0.5  # seconds before the second try; doubles from try to try
LONGEST_PAUSE = 60.0
LONGEST_REST = 300.0  # a longer Retry-After is not waited for
RESTS_AFTER = 3  # failures in a row that send an address to rest
FATAL = {
    401: "set {key} to a valid key",
    403: "the key in {key} may not do this",
    404: "check the address and the model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the back end."""

    concurrency: int = setting(32, "requests under way at once, over all addresses")
    chat: bool = setting(False, "chat completions: the prompt is the message of the user")
    system: str = setting("", "system message of a chat")
    timeout: float = setting(600.0, "seconds to wait for one answer")
    tries: int = setting(10, "calls of one sample before it counts as lost")
    requests_per_minute: float = setting(0.0, "most calls started in a minute; 0: no limit")
    key_env: str = setting("OPENAI_API_KEY", "environment variable that holds the key")
    limit_field: str = setting(
        "max_tokens", "the field for the length limit; some chat models want max_completion_tokens"
    )
    extra: Mapping[str, Any] = setting(factory=dict, help="more fields of each request, e.g. engine.extra.top_k=20")

    def __post_init__(self) -> None:
        for name in ("concurrency", "timeout", "tries"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be positive")
        if self.requests_per_minute < 0:
            raise ValueError(f"requests_per_minute={self.requests_per_minute}: must not be negative")


class OpenAI:
    """A model behind one or several addresses."""

    def __init__(self, model: str, urls: Sequence[str], options: Options) -> None:
        self._model, self._options = model, options
        self._path = "/chat/completions" if options.chat else "/completions"
        key = os.environ.get(options.key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency)
        timeout = httpx.Timeout(options.timeout, connect=min(30.0, options.timeout), pool=None)
        self._client = httpx.Client(headers=headers, limits=limits, timeout=timeout)
        weakref.finalize(self, self._client.close)
        self._routes = _Routes([_Address(url=url) for url in urls])
        self._pace = _Pace(options.requests_per_minute)
        self.batch = 4 * options.concurrency
        self.info: Mapping[str, str] = {
            "engine": "openai chat" if options.chat else "openai completions",
            "model": model,
            "address": ",".join(urls),
            "system": options.system,
            "extra": ", ".join(f"{name}={value}" for name, value in sorted(options.extra.items())),
        }

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order. Raises BackendError when one of them cannot be had."""
        found: dict[int, Completion] = {}
        for index, made in self.stream(enumerate(requests), sampling):
            if isinstance(made, Caught):
                raise BackendError(made.message, retryable=made.retryable)
            found[index] = made
        return [found[index] for index in range(len(requests))]

    def stream(
        self, requests: Iterable[tuple[T, Request]], sampling: Sampling
    ) -> Iterator[tuple[T, Completion | Caught]]:
        """Completions as they come. Raises ConfigError when the server refuses the key, the address or the model."""
        todo: queue.SimpleQueue[tuple[T, Request] | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[T, Completion | Caught] | Exception] = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            while (item := todo.get()) is not None and not stopped.is_set():
                name, request = item
                try:
                    done.put((name, boundary(partial(self._ask, request, sampling, stopped))))
                except (ConfigError, MissingDependency, RunError, AssertionError, OSError) as error:
                    done.put(error)  # what the boundary lets through concerns all samples

        source, waiting, started = iter(requests), 0, 0
        try:
            while True:
                while waiting < self._options.concurrency and (item := next(source, None)) is not None:
                    if started < self._options.concurrency and started <= waiting:
                        # daemons: an interrupted evaluation ends at once and does not wait for answers
                        threading.Thread(target=work, daemon=True, name=f"openai-{started}").start()
                        started += 1
                    todo.put(item)
                    waiting += 1
                if waiting == 0:
                    return
                made = done.get()
                waiting -= 1
                if isinstance(made, Exception):
                    raise made
                yield made
        finally:
            stopped.set()
            for _ in range(started):
                todo.put(None)

    def _ask(self, request: Request, sampling: Sampling, stopped: threading.Event) -> Completion | Caught:
        """The completion of one request; a failure after the last try is a value."""
        body = self._body(request, sampling)
        trouble = _Trouble(message="stopped", retryable=True)
        for attempt in range(self._options.tries):
            if not self._pace.wait(stopped):
                break
            address = self._routes.take(stopped)
            if address is None:
                break
            begin = time.perf_counter()
            answer = self._call(address, body)
            self._routes.give_back(address, answer)
            if isinstance(answer, dict):
                return self._completion(answer, sampling, time.perf_counter() - begin)
            trouble = answer
            if not trouble.retryable:
                break
            if not self._routes.another(address):
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
                stopped.wait(pause * random.uniform(0.5, 1.5))
        return Caught(kind="BackendError", message=trouble.message, retryable=trouble.retryable)

    def _body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        options = self._options
        body: dict[str, Any] = {
            "model": self._model,
            options.limit_field: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": request.seed % 2**31,  # some servers take no more
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if options.chat:
            system = [{"role": "system", "content": options.system}] if options.system else []
            body["messages"] = [*system, {"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt
        return body | dict(options.extra)

    def _call(self, address: _Address, body: Mapping[str, Any]) -> dict[str, Any] | _Trouble:
        """One call: the answer's first choice with its usage, or what went wrong."""
        try:
            answer = self._client.post(address.url + self._path, json=body)
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
            return _Trouble(message=f"{address.url}: {told}", retryable=True)
        if answer.status_code in FATAL:
            remedy = FATAL[answer.status_code].format(key=self._options.key_env)
            raise ConfigError(
                f"{address.url}{self._path} answered {answer.status_code}: {remedy} ({_short(answer.text)})"
            )
        if answer.status_code != 200:
            passing = answer.status_code in (408, 409, 425, 429) or answer.status_code >= 500
            told = f"{address.url} answered {answer.status_code}: {_short(answer.text)}"
            return _Trouble(message=told, retryable=passing, rest=_rest(answer.headers.get("Retry-After")))
        try:
            found = answer.json()
            choice = found["choices"][0]
            text = choice["message"].get("content") if self._options.chat else choice["text"]
            usage = found.get("usage") or {}
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            told = f"{address.url}: not an answer of this interface ({type(error).__name__}): {_short(answer.text)}"
            return _Trouble(message=told, retryable=True)
        return {"text": text or "", "choice": choice, "usage": usage}

    def _completion(self, answer: Mapping[str, Any], sampling: Sampling, seconds: float) -> Completion:
        text, choice, usage = answer["text"], answer["choice"], answer["usage"]
        kept = cut(text, sampling.stop)  # some servers leave the stop string in
        finish = str(choice.get("finish_reason") or "unknown")
        if finish == "stop" and kept == text and not sampling.stop:
            finish = "eos"  # nothing else can have ended it
        return Completion(
            text=kept,
            finish=finish,
            tokens=int(usage.get("completion_tokens") or 0),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            seconds=seconds,
        )


def open(target: str, options: Options | None = None) -> OpenAI:
    """The back end for MODEL@URL[,URL…]. Raises ConfigError for another form, BackendError when nothing answers."""
    model, at, places = target.partition("@http")
    if not at:
        model, at, places = target.rpartition("@")
    urls = [url.strip().rstrip("/") for url in f"{at[1:]}{places}".split(",") if url.strip()]
    if not (model and at and urls):
        form = "openai:MODEL@URL, e.g. openai:llemma@http://localhost:8000/v1"
        raise ConfigError(f"openai:{target} is not of the form {form}")
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"{url!r} is not an http address; write openai:MODEL@http://HOST:PORT/v1")
        if parts.username or parts.password:
            raise ConfigError("the address holds a user or password; put the key into the environment instead")
    return OpenAI(model, urls, options or Options())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """Why a call failed; ``rest`` is the pause in seconds that the server asked for."""

    message: str
    retryable: bool
    rest: float | None = None


@dataclass(slots=True, kw_only=True)
class _Address:
    """One server: calls under way, failures in a row, and when it may be used again (monotonic seconds)."""

    url: str
    busy: int = 0
    failures: int = 0
    ready: float = 0.0


class _Routes:
    """Chooses the address of each call: the least busy one that does not rest."""

    def __init__(self, addresses: Sequence[_Address]) -> None:
        self._addresses, self._lock = addresses, threading.Lock()

    def take(self, stopped: threading.Event) -> _Address | None:
        """An address to call, after waiting for one if all rest; None when stopped meanwhile."""
        while not stopped.is_set():
            with self._lock:
                now = time.monotonic()
                ready = [address for address in self._addresses if address.ready <= now]
                if ready:
                    chosen = min(ready, key=lambda address: address.busy)
                    chosen.busy += 1
                    return chosen
                pause = min(address.ready for address in self._addresses) - now
            stopped.wait(pause)
        return None

    def give_back(self, address: _Address, answer: dict[str, Any] | _Trouble) -> None:
        """Note how a call ended."""
        with self._lock:
            address.busy -= 1
            if isinstance(answer, dict) or not answer.retryable:
                address.failures = 0
                return
            address.failures += 1
            if answer.rest is not None:
                address.ready = time.monotonic() + min(LONGEST_REST, answer.rest)
            elif address.failures >= RESTS_AFTER:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (address.failures - RESTS_AFTER))
                address.ready = time.monotonic() + pause * random.uniform(0.5, 1.5)

    def another(self, address: _Address) -> bool:
        """Whether another address may be called now."""
        with self._lock:
            now = time.monotonic()
            return any(other is not address and other.ready <= now for other in self._addresses)


@dataclass(slots=True)
class _Pace:
    """Starts at most ``per_minute`` calls a minute, evenly; 0 is no limit."""

    per_minute: float
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, stopped: threading.Event) -> bool:
        """Wait for a turn; False when stopped meanwhile."""
        if self.per_minute > 0:
            with self._lock:
                now = time.monotonic()
                turn = max(now, self._next)
                self._next = turn + 60.0 / self.per_minute
            stopped.wait(max(0.0, turn - now))
        return not stopped.is_set()


def _rest(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _short(text: str, limit: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
