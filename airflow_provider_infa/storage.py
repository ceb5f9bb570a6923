"""Files that tasks hand on to each other, through Airflow's object storage: packages, and rows as JSON lines."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcNotFoundError, IdmcStorageError


@contextmanager
def temporary_file(name: str) -> Iterator[Path]:
    """
    A path in a folder of its own, which is gone afterwards.

    :param name: What the file is, for people; it becomes part of its name.
    """
    with tempfile.TemporaryDirectory(prefix="infa-") as folder:
        yield Path(folder) / re.sub(r"[^\w.-]+", "-", name)


def publish(file: Path, uri: str) -> str:
    """
    Copy a finished file to object storage. Readers see the whole file or none.

    :param file: The file.
    :param uri: Any path that Airflow's object storage takes.
    :return: The URI.
    :raises IdmcStorageError: If it can't be written.
    """
    target = _object_path(uri)
    try:
        if _is_local(target):
            _replace(file, target)
        else:
            # Object stores show an object only when its upload is complete.
            target.fs.put_file(str(file), target.path)
    except OSError as error:
        raise IdmcStorageError(f"{uri!r} can't be written: {error}.") from error
    return uri


def _replace(file: Path, target: Any) -> None:
    place = Path(target.path)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{uuid4().hex}.part")
    try:
        shutil.copyfile(file, part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """
    A copy of a file in object storage, also of a local one: what was checked must not change before it is used.

    :param uri: Any path that Airflow's object storage takes.
    :raises IdmcNotFoundError: If there is no such file.
    :raises IdmcStorageError: If it can't be read.
    """
    source = _object_path(uri)
    with temporary_file(Path(source.path).name) as file:
        try:
            source.fs.get_file(source.path, str(file))
            if not file.is_file():
                raise FileNotFoundError  # it is a folder
        except FileNotFoundError:
            raise IdmcNotFoundError(f"There is no file {uri!r}.") from None
        except OSError as error:
            raise IdmcStorageError(f"{uri!r} can't be read: {error}.") from error
        yield file


@contextmanager
def local_package(package_uri: str | None, source: InfaHook | None, export_job_id: str | None) -> Iterator[Path]:
    """
    A package as a local file, from object storage or straight from the org that exported it.

    :param package_uri: Where it is stored.
    :param source: Hook of the org that exported it.
    :param export_job_id: The export job there, instead of ``package_uri``.
    :raises IdmcInputError: Unless exactly one of the two ways is given.
    """
    if bool(package_uri) == bool(export_job_id) or (export_job_id and not source):
        raise IdmcInputError("Name the package by package_uri, or by source_conn_id together with export_job_id.")
    if package_uri:
        with local_copy(package_uri) as file:
            yield file
        return
    with temporary_file(f"export-{export_job_id}.zip") as file:
        if source is not None:
            source.download_export_package(export_job_id or "", file)
        yield file


def write_text(text: str, uri: str) -> str:
    """Write a text. :param text: The text. :param uri: Where to. :return: The URI."""
    with temporary_file("text") as file:
        file.write_text(text, encoding="utf-8")
        return publish(file, uri)


def read_text(uri: str) -> str:
    """Read a text. :raises IdmcNotFoundError: If there is no such file. :raises IdmcInputError: If it is no text."""
    with local_copy(uri) as file:
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise IdmcInputError(f"{uri!r} holds no text.") from None


def join(uri: str, *names: str) -> str:
    """
    A place below another.

    :param uri: Any path that Airflow's object storage takes.
    :param names: Names of folders or files; what a file system or object store might mind in them is replaced.
    """
    return "/".join([uri.rstrip("/"), *(re.sub(r"[^\w.=-]+", "-", name) for name in names)])


def exists(uri: str) -> bool:
    """
    Whether there is a file.

    :param uri: Any path that Airflow's object storage takes.
    :raises IdmcStorageError: If the storage can't be asked.
    """
    path = _object_path(uri)
    try:
        # The exists() of fsspec takes every failure for a no.
        path.fs.info(path.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise IdmcStorageError(f"{uri!r} can't be read: {error}.") from error
    return True


def write_rows(rows: Iterable[dict[str, Any]], uri: str) -> int:
    """
    Write rows as JSON lines.

    :param rows: The rows; they may come one by one.
    :param uri: Where to.
    :return: How many there were.
    """
    count = 0
    with temporary_file("rows.jsonl") as file:
        with file.open("w", encoding="utf-8") as out:
            for row in rows:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        publish(file, uri)
    return count


def read_rows(uri: str) -> list[Any]:
    """Read rows as :func:`write_rows` wrote them. :raises IdmcInputError: If a line is no JSON."""
    with local_copy(uri) as file, file.open(encoding="utf-8") as lines:
        try:
            return [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise IdmcInputError(f"{uri!r} holds no JSON lines: {error}.") from None


def _is_local(path: Any) -> bool:
    """Whether a path is one of this machine; without a scheme, its protocol is empty on some versions."""
    return path.protocol in ("file", "local", "")


def _object_path(uri: str) -> Any:
    # Imported late: it pulls in fsspec, which a DAG file that only names our operators must not pay for.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)
