"""
Postgres and Redis of one's own, for as long as a test takes.

Installed programs are used where there are any. Where there are none, Debian's packages are unpacked below ``.venv/``,
which needs no rights and leaves the system as it is. Run as a command, it only sees to the programs.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground import ROOT, running

#: Where packages are unpacked.
UNPACKED = ROOT / ".venv" / "services"
#: Package to a program of it.
NEEDED = {"postgresql": "initdb", "redis-server": "redis-server"}
#: How often another port is tried: one that was free can be taken a moment later.
ATTEMPTS = 3
#: Seconds for a program to start.
PATIENCE = 60
USER = "airflow"


@dataclass(frozen=True)
class Services:
    """
    Where the services are reached.

    :param postgres: Address of a database, after the scheme: ``user:password@host:port/name``.
    :param redis: URL.
    """

    postgres: str
    redis: str


@contextmanager
def services() -> Iterator[Services]:
    """Start both, each on a free port of this machine; afterwards they are stopped and all they wrote is removed."""
    programs = find_programs()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infa-services-")))
        password = secrets.token_hex(16)
        postgres = _start_postgres(stack, folder, programs["postgresql"], password)
        redis = _start_redis(stack, folder, programs["redis-server"], password)
        yield Services(
            f"{USER}:{password}@127.0.0.1:{postgres}/postgres",
            f"redis://:{password}@127.0.0.1:{redis}/0",
        )


def find_programs() -> dict[str, Path]:
    """
    Find the programs, and fetch what is missing.

    :return: For each package of :data:`NEEDED` the path of its program.
    """
    found = _found()
    if missing := sorted(NEEDED.keys() - found.keys()):
        print(f"Fetching Debian's packages {', '.join(missing)} into .venv/services ...")
        problem = _unpack(missing)
        found = _found()
        if missing := sorted(NEEDED.keys() - found.keys()):
            sys.exit(
                f"{problem}\nThe distributed run needs {' and '.join(missing)}, and could not get them by itself. "
                "Install them and try again: apt-get install postgresql redis-server"
            )
    return found


def _found() -> dict[str, Path]:
    # Debian keeps Postgres' programs off the path; the newest version wins.
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    for root in (Path("/"), UNPACKED):
        versions = (root / "usr/lib/postgresql").glob("*/bin")
        folders += [*sorted(versions, key=lambda path: float(path.parent.name), reverse=True), root / "usr/bin"]
    found = {}
    for package, program in NEEDED.items():
        with suppress(StopIteration):
            found[package] = next(path for folder in folders if (path := folder / program).is_file())
    return found


def _unpack(packages: list[str]) -> str:
    """Fetch packages and what they need beyond the installed ones, and unpack them; returns what went wrong."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return "This is no Debian."
    UNPACKED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="services-", dir=UNPACKED.parent) as name:
        lists, cache, unpacked = (Path(name) / part for part in ("lists", "cache", "unpacked"))
        for folder in (lists, cache / "archives"):
            (folder / "partial").mkdir(parents=True)
        # Lists and cache of our own, so that no rights are needed, nor a lock on the system's.
        options = {"Dir::State::Lists": lists, "Dir::Cache": cache, "Debug::NoLocking": "1"}
        options["APT::Sandbox::User"] = pwd.getpwuid(os.geteuid()).pw_name
        apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
        # A source that can't be reached matters only if something is missing then.
        subprocess.run([*apt, "update"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        fetch = [*apt, "install", "--download-only", "--yes", "--no-install-recommends", *packages]
        done = subprocess.run(fetch, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stdout + done.stderr
        for archive in (cache / "archives").glob("*.deb"):
            # A compiler for queries: as large as all the rest, and switched off below.
            if not archive.name.startswith("libllvm"):
                subprocess.run(["dpkg", "-x", str(archive), str(unpacked)], check=True)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        unpacked.rename(UNPACKED)
    return ""


def _start_postgres(stack: ExitStack, folder: Path, initdb: Path, password: str) -> int:
    # On the path it may be a link, without its neighbours.
    initdb = initdb.resolve()
    own = folder / "postgres"
    own.mkdir()
    options = _environment(initdb)
    if os.geteuid() == 0:
        # Postgres refuses to be run by root.
        user = _other_user()
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        if initdb.is_relative_to(UNPACKED):
            # The checkout may be somewhere where that user can't read.
            shutil.copytree(UNPACKED, folder / "unpacked", symlinks=True)
            initdb = folder / "unpacked" / initdb.relative_to(UNPACKED)
            options |= _environment(initdb)
        folder.chmod(0o711)
        os.chown(own, user.pw_uid, user.pw_gid)
    data, secret, log = own / "data", own / "password", folder / "postgres.log"
    secret.write_text(password)
    if os.geteuid() == 0:
        os.chown(secret, user.pw_uid, user.pw_gid)
    secret.chmod(0o600)
    make = [str(initdb), "-D", str(data), "-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256"]
    make += ["--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(make, capture_output=True, text=True, cwd=own, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"Postgres' data folder could not be made:\n{done.stdout}{done.stderr}")
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "300",
        # Nothing of it has to survive.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "jit": "off",
    }

    def command(port: int) -> list[str]:
        pairs = (settings | {"port": str(port)}).items()
        return [str(initdb.parent / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in pairs)]

    def is_ready(port: int) -> bool:
        ask = [str(initdb.parent / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        return subprocess.run(ask, check=False, cwd=own, **options).returncode == 0

    return _serve(stack, command, log, is_ready, cwd=own, **options)


def _start_redis(stack: ExitStack, folder: Path, program: Path, password: str) -> int:
    own = folder / "redis"
    own.mkdir(mode=0o700)
    file = own / "redis.conf"

    def command(port: int) -> list[str]:
        # In a file, because other users of this machine see the arguments of a process.
        settings = {"bind": "127.0.0.1", "port": port, "requirepass": password, "dir": own, "save": '""'}
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return [str(program), str(file)]

    def is_ready(port: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            connection.settimeout(1)
            return connection.recv(100).startswith(b"+OK")
        return False

    return _serve(stack, command, folder / "redis.log", is_ready, cwd=own, **_environment(program))


def _serve(
    stack: ExitStack, command: Callable[[int], list[str]], log: Path, is_ready: Callable[[int], bool], **options: Any
) -> int:
    """Start a program on a free port, and wait until it serves."""
    for _ in range(ATTEMPTS):
        port = _free_port()
        with log.open("wb") as output:
            process = stack.enter_context(
                running(command(port), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
            )
            stack.callback(_stop, process)
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            if is_ready(port):
                return port
            time.sleep(0.05)
    raise RuntimeError(f"{command(0)[0]} did not start:\n{log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask for an end at once; at SIGTERM, Postgres waits for its clients, and killed it leaves shared memory behind."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _environment(program: Path) -> dict[str, Any]:
    """Options for running a program; one that was only unpacked has its libraries beside it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    root = next((parent.parent for parent in program.parents if parent.name == "usr"), Path("/"))
    if root != Path("/"):
        libraries = [path for part in ("usr/lib", "lib") for path in (root / part).glob("*-linux-gnu*")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))
    return {"env": environment}


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    sys.exit("Postgres can't be run by root, and there is neither a user postgres nor nobody.")


if __name__ == "__main__":
    find_programs()
