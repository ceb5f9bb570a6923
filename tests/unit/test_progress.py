"""Lines while something large moves: every few seconds, with what moved, and none for what is quick."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import random
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_provider_infa.idmc import progress
from airflow_provider_infa.idmc.progress import EVERY, MIB, Progress
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import Clock, login_answer, settings

NAME = "airflow_provider_infa.idmc.progress"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is told."""

    class Lines(list[str]):
        def __eq__(self, other: object) -> bool:
            return [r.getMessage() for r in caplog.records if r.name == NAME] == other

        def __iter__(self) -> Iterator[str]:
            return iter([r.getMessage() for r in caplog.records if r.name == NAME])

        __hash__ = None  # type: ignore[assignment]

    with caplog.at_level(logging.INFO, logger=NAME):
        yield Lines()


# by the clock -----------------------------------------------------------------------------------------------------


def test_a_line_every_five_seconds(clock: Clock, lines: list[str]) -> None:
    assert EVERY == 5.0
    moving = Progress("Download of package.zip", 1024 * MIB, clock)
    for second in range(1, 21):
        clock.now += 1
        moving.at(second * 50 * MIB)
    assert lines == [
        f"Download of package.zip: {moved} of 1,024 MiB, 50.0 MiB/s." for moved in ("250", "500", "750", "1,000")
    ]


def test_what_is_quick_gets_no_line(clock: Clock, lines: list[str]) -> None:
    moving = Progress("Download of package.zip", 100 * MIB, clock)
    for _ in range(100):
        clock.now += 0.0499
        moving.at(100 * MIB)
    assert lines == []


@pytest.mark.parametrize("total", [None, 0])
def test_without_a_known_total(clock: Clock, lines: list[str], total: int | None) -> None:
    moving = Progress("Upload of p.zip", total, clock)
    clock.now += 10
    moving.at(3 * MIB)
    assert lines == ["Upload of p.zip: 3 MiB, 0.3 MiB/s."]


def test_the_speed_is_that_since_the_line_before(clock: Clock, lines: list[str]) -> None:
    moving = Progress("Upload of p.zip", 100 * MIB, clock)
    for moved, seconds in ((50, 5), (50, 20), (60, 5)):
        clock.now += seconds
        moving.at(moved * MIB)
    assert [re.findall(r"[\d.]+ MiB/s", line)[0] for line in lines] == ["10.0 MiB/s", "0.0 MiB/s", "2.0 MiB/s"]


# through a session ------------------------------------------------------------------------------------------------


class SlowServer:
    """An org whose packages come and go in small pieces; downloads are cut off so often at first."""

    def __init__(self, package: bytes, pieces: int, pause: float, cuts: int = 0) -> None:
        self.received: list[bytes] = []
        self.downloads = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length, body = int(self.headers.get("Content-Length") or 0), b""
                if "multipart" in self.headers.get("Content-Type", ""):
                    while len(body) < length:
                        body += self.rfile.read(min(length - len(body), length // pieces + 1))
                        time.sleep(pause)
                    server.received.append(body)
                else:
                    body = self.rfile.read(length)
                self.answer(login_answer(api_base=f"{server.url}/saas"))

            def answer(self, content: object) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                server.downloads += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(package)))
                self.end_headers()
                size = len(package) // pieces + 1
                for start in range(0, len(package), size):
                    if server.downloads <= cuts and start > len(package) // 2:
                        self.close_connection = True
                        return
                    self.wfile.write(package[start : start + size])
                    self.wfile.flush()
                    time.sleep(pause)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # What fits into buffers has been sent before anybody reads it.
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> SlowServer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def package() -> bytes:
    """Eight MiB that don't shrink, as a ZIP file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("big", random.Random(7).randbytes(8 * MIB))
    return file.getvalue()


def moved(line: str) -> int:
    return int(re.fullmatch(r"\w+ of package\.zip: (\d+) of 8 MiB, [\d,]+\.\d MiB/s\.", line)[1])  # type: ignore[index]


@pytest.mark.parametrize("cuts", [0, 1, 2])
def test_a_download_tells_how_far_it_is_and_begins_again_when_it_was_cut_off(
    package: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], clock: Clock, cuts: int
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.1)
    target = tmp_path / "package.zip"
    with SlowServer(package, 8, 0.11, cuts) as server, Session(settings(server.url), sleep=clock.sleep) as session:
        download = session.download("/export/x/package", target)
    assert (server.downloads, len(clock.sleeps)) == (cuts + 1, cuts)
    # Whole, and not what came before with something appended.
    assert target.read_bytes() == package
    assert (download.size, download.sha256) == (len(package), hashlib.sha256(package).hexdigest())
    told = [moved(line) for line in lines]
    assert len(told) >= 3
    # It begins again from zero as often as it was cut off.
    assert sum(later < earlier for earlier, later in itertools.pairwise(told)) == cuts
    assert told[-1] >= 6


def test_an_upload_tells_how_far_it_is(
    package: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], clock: Clock
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.1)
    source = tmp_path / "package.zip"
    source.write_bytes(package)
    with SlowServer(package, 16, 0.1) as server, Session(settings(server.url), sleep=clock.sleep) as session:
        session.upload("/package", source, field="package")
    (body,) = server.received
    assert package in body
    told = [moved(line) for line in lines]
    assert told == sorted(told)
    assert len(told) >= 2
    assert all(line.startswith("Upload of package.zip: ") for line in lines)


def test_quick_ones_tell_nothing(package: bytes, tmp_path: Path, lines: list[str], clock: Clock) -> None:
    with SlowServer(package, 1, 0.0) as server, Session(settings(server.url), sleep=clock.sleep) as session:
        session.download("/export/x/package", tmp_path / "package.zip")
        session.upload("/package", tmp_path / "package.zip", field="package")
    assert lines == []
