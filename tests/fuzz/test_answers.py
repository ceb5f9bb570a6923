"""Whatever a server answers, a call returns something of use or raises one of our errors: soon, in little memory."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.idmc_packages import server_package

from airflow_provider_infa.idmc.errors import IdmcError
from airflow_provider_infa.idmc.session import Session

from . import odd_json
from .bounds import LONGEST_MESSAGE, bounded, examples, logged, texts_of
from .calls import CALLS, ERRORS, LOGIN, PASSWORD, SECRETS, Call, settings
from .wire import Request, Wire, frame, http, wire_fixture  # noqa: F401 - a fixture


def echoes(secrets: Sequence[str]) -> list[str]:
    """JSON texts that repeat secrets."""
    return [
        *(json.dumps(secret) for secret in secrets),
        *(json.dumps(f"<b>{secret}</b> " * 20) for secret in secrets),
        *('"' + "".join(f"\\u{ord(c):04x}" for c in secret) + '"' for secret in secrets),
        *(json.dumps([secret]) for secret in secrets),
    ]


#: What a hostile or broken server repeats of us; also as JSON may write it.
ECHOES = echoes(SECRETS)
PAGES = [
    b"",
    b" ",
    b"\0" * 100,
    b"\xff\xfe\xfd",
    b"<html><script>" + b"x" * 50_000,
    b"<!DOCTYPE html><style>a{}</style><h1>Maintenance</h1>&#115;&lt;" + b"</h1>" * 10_000,
    b"Too many requests",
    b"<" * 50_000,
    b"<!--" * 20_000,
    b"<script" * 10_000 + b"</script " * 10_000,
    b"\xef\xbb\xbf{}",
    '{"a": 1}'.encode("utf-16"),
    b'{"a": "\xff\xff"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"[" + b"{}," * 20_000 + b"{}]",
    b"PK\3\4" + b"\0" * 100,
    b"PK\5\6" + b"\0" * 18,
    b"OIE_008 " + b"Object [" * 3000,
    b"OIE_008 " + b"Object [a] of type [b]" * 3000,
    b"OIE_008 Object [a] of type [b] dependencies" + b"[" * 3000,
    b"OIE_008 " * 20_000,
    *(f"<h1>{secret}</h1> {secret} at {secret * 30}".encode() for secret in SECRETS),
]
STATUSES = [200, 200, 201, 202, 204, 205, 206, 300, 301, 302, 304, 307, 308, 400, 400, 401, 402, 403, 404, 405, 409]
STATUSES += [410, 413, 418, 422, 429, 431, 451, 500, 501, 502, 503, 504, 520, 599, 600, 999, 103, 199]
DATES = ["Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 0001 00:00:00 +2359", "Sun, 22 Nov 2026 03:27:44 -0000", "Mon,"]
DATES += ["Mon, 99999999999999999999 Nov 2026 25:61:61 GMT", "1 Jan 2026 0:0:0 +99999999", "0 0 0 0", ", , ,", "()"]
SECONDS = ["0", "-1", "1", "1.5", "1e400", "NaN", "inf", "999999999", "9" * 5000, "soon", "²", "1,2", "0x10", " ", ""]
LOCATIONS: list[str | bytes] = [
    "https://[::1",
    "//",
    "http://a:b/",
    "http://\u00e9/",
    b"\xff\xfe",
    "https://[v1.x]/",
    "",
]
LOCATIONS += [
    "javascript:alert(1)",
    "http://user:pass@elsewhere.invalid/x",
    "/" * 5000,
    "http://a\u00b2.b/",
    "http://%zz/",
]
LOCATIONS += [
    f"http://elsewhere.invalid/{SECRETS[0]}",
    f"http://{SECRETS[0]}/",
    "http://127.0.0.1:99999/",
    "http://a" + "." * 300,
]
ENCODINGS = [
    "gzip",
    "deflate",
    "br",
    "zstd",
    "compress",
    "identity",
    "gzip, gzip",
    "x" * 100,
    "\u00e9",
    "gzip" + ",gzip" * 50,
]
TYPES = [
    "text/html",
    "application/zip",
    "text/plain; charset=utf-16",
    "application/json; charset=\u00e9",
    "x",
    "",
    ";;;=",
    "\u00e9" * 50,
]
LENGTHS = ["0", "1", "-1", "-99", "9" * 5000, "99999999", "²", "5, 6", "5, 5", "x", "", " 7 ", "+7", "1_0", "0x5"]
LINES: list[tuple[str, str | bytes]] = [
    ("X", "x" * 70_000),
    ("X", b"\0\xff\x80"),
    ("", ""),
    (" X", "folded"),
    ("X\r\n", "split"),
    ("no colon here " + SECRETS[0], b"\r\n" + SECRETS[0].encode()),
    ("Set-Cookie", "a=b; Domain=.invalid; Max-Age=" + "9" * 100),
    ("Set-Cookie", b"\xff=\xfe; expires=\xfd"),
    ("Connection", "Upgrade"),
    ("Transfer-Encoding", "gzip"),
    ("Transfer-Encoding", "chunked, chunked"),
    ("WWW-Authenticate", 'Basic realm="' + SECRETS[0]),
    *((f"X-{n}", "x") for n in range(3)),
]


def chunks(body: bytes, size: int) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + size]), body[i : i + size]) for i in range(0, len(body), size))


BAD_CHUNKS = [
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\nhello\r\n",
    b"\r\n\r\n",
    b"5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"ffffffffffffffffffff\r\nhello",
    b"5\r\nhel",
    b"5\r\nhello",
    b"0" * 100 + b"5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 500,
    b"5" + b";" * 70_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
]


@st.composite
def wires(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """An answer as it goes over the wire, with nothing, or something, wrong about it outside of its body."""
    way = draw(st.sampled_from(["plain"] * 6 + ["status", "headers", "coded", "length", "chunked", "cut", "noise"]))
    if way == "plain":
        return [http(body)]
    status = draw(st.sampled_from(STATUSES)) if way == "status" or draw(st.integers(0, 3)) == 0 else 200
    headers: list[tuple[str, str | bytes]] = []
    if 300 <= status < 400 or way == "headers":
        headers.append(("Location", draw(st.sampled_from(LOCATIONS))))
    if status >= 400 or way == "headers":
        headers.append(("Retry-After", draw(st.sampled_from(DATES + SECONDS))))
    if way == "status":
        return [http(body, status=status, headers=headers)]
    headers.append(("Content-Type", draw(st.sampled_from(TYPES))))
    if way == "headers":
        headers += draw(st.lists(st.sampled_from(LINES), max_size=3)) * draw(st.sampled_from([1, 1, 1, 200]))
        return [frame(body, status, headers)]
    if way == "coded":
        coding = draw(st.sampled_from(ENCODINGS))
        coded = {"gzip": gzip.compress(body, 1), "deflate": zlib.compress(body, 1)}.get(coding, body)
        damage = draw(st.sampled_from([coded, coded, coded[:-5], coded + b"more", body]))
        return [frame(damage, status, [*headers, ("Content-Encoding", coding)])]
    if way == "length":
        lengths = draw(
            st.lists(st.sampled_from([*LENGTHS, str(len(body)), str(len(body) // 2)]), min_size=1, max_size=2)
        )
        return [frame(body, status, [*headers, *(("Content-Length", length) for length in lengths)])]
    if way == "chunked":
        sound = chunks(body, max(1, len(body) // 3 + 1)) + b"0\r\n\r\n"
        sent = draw(st.sampled_from([sound, sound[: len(sound) // 2], sound[:-7], *BAD_CHUNKS]))
        return [frame(sent, status, [*headers, ("Transfer-Encoding", "chunked")])]
    if way == "noise":
        return [draw(st.binary(max_size=200))]
    whole = http(body, status=status, headers=headers)
    return [whole[: draw(st.integers(0, len(whole)))], *draw(st.sampled_from([[], [b"BREAK"], [b"STALL"]]))]


def bodies(call: Call) -> st.SearchStrategy[bytes]:
    """What stands in an answer: nearly what belongs there, an error, or anything."""
    if isinstance(call.answer, bytes):
        package = server_package()
        real = st.integers(0, len(package)).map(lambda size: package[:size]) | st.just(package)
    elif isinstance(call.answer, str):
        real = st.text(max_size=200).map(lambda text: (call.answer + text).encode())
    else:
        real = odd_json.odd(call.answer, ECHOES)
    # A login that is refused has no session id to repeat: none was given to anybody.
    known = echoes([PASSWORD]) if call is CALLS["login"] else ECHOES
    errors = st.sampled_from(ERRORS).flatmap(lambda error: odd_json.odd(error, known, anywhere=True))
    anything = st.sampled_from(PAGES) | st.binary(max_size=100)
    return st.sampled_from([real, real, real, real, errors, anything]).flatmap(lambda chosen: chosen)


def serve(call: Call, pieces: list[bytes]) -> Any:
    """Answers the odd request oddly and the others as a server does."""

    def respond(request: Request) -> Iterator[bytes]:
        if call.fits(request.method, request.path):
            for piece in pieces:
                if piece == b"BREAK":
                    raise ConnectionResetError("reset by peer")
                if piece == b"STALL":
                    raise TimeoutError("timed out")
                yield piece
            return
        if request.path.endswith("/login"):
            yield http(json.dumps(LOGIN).encode())
            return
        if request.path.endswith("/logout"):
            yield http(b"{}")
            return
        for path, answer in (call.others or {}).items():
            if Call(call.run, request.method, path, None).fits(request.method, request.path):
                yield http(json.dumps(answer).encode())
                return
        yield http(b'{"error": {"code": "V3API_404", "message": "Not found."}}', status=404)

    return respond


def use(wire: Wire, call: Call, pieces: list[bytes], file: Path) -> None:
    """One call, answered so; see the head of this module."""
    wire.start(serve(call, pieces))
    error: IdmcError | None = None
    with logged() as lines, bounded(sum(map(len, pieces))):
        now = [0.0]

        def sleep(seconds: float) -> None:
            assert seconds >= 0
            now[0] += seconds

        with Session(settings(), sleep=sleep, clock=lambda: now[0]) as session:
            try:
                call.run(session, file)
            except IdmcError as raised:
                error = raised
    texts = lines + (texts_of(error) if error else [])
    for secret in SECRETS:
        assert not any(secret in text for text in texts), f"a secret is shown: {texts}"
    longest = max(map(len, texts), default=0)
    assert longest < LONGEST_MESSAGE, f"{longest} characters"


@pytest.mark.parametrize("name", CALLS)
def test_an_odd_answer(name: str, wire: Wire, file: Path) -> None:
    call = CALLS[name]

    @examples(1 / len(CALLS))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        body = data.draw(bodies(call))
        use(wire, call, data.draw(wires(body)), file)

    run()
