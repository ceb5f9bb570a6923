"""The release manifest: a YAML file in a team's repository that says what a release consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.lookup import lookup, written
from airflow_provider_infa.idmc.models import FOLDER, PROJECT, Asset, same_type
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.schemas import validator
from airflow_provider_infa.idmc.session import Session

#: What ends the fixed part of a pattern.
_WILD = "*?["
#: Values that anchors may add to those that are written down.
ANCHORED = 10_000
#: Faults that are told, and characters of each: one may repeat a whole value.
SHOWN, LONGEST = 50, 400
#: Types of YAML that JSON lacks.
_NO_JSON = ("timestamp", "binary", "set", "omap", "pairs")


@dataclass(frozen=True)
class TargetNames:
    """How things are called in one target org. Each maps a name in the source org to one in the target org."""

    runtime_environments: dict[str, str] = field(default_factory=dict)
    connections: dict[str, str] = field(default_factory=dict)
    projects: dict[str, str] = field(default_factory=dict)
    #: Path of a mapping task to the name of its schedule, both in the target org.
    schedules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """
    A release manifest. Its keys are described in ``release.schema.json`` beside this module.

    :param source: Where it was read from, for messages.
    """

    source: str = "no manifest"
    name: str | None = None
    objects: tuple[Mapping[str, str], ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    default_conflict_resolution: str = "OVERWRITE"
    conflict_resolutions: dict[str, Any] = field(default_factory=dict)
    targets: Mapping[str, TargetNames] = field(default_factory=dict)

    def target(self, org_name: str, org_id: str) -> TargetNames:
        """
        Names in a target org.

        :param org_name: Name of the org.
        :param org_id: Its id.
        :raises IdmcInputError: If the manifest has targets, and this is none of them.
        """
        if not self.targets:
            return TargetNames()
        names = self.targets.get(org_name) or self.targets.get(org_id)
        if names is None:
            raise IdmcInputError(
                f"{self.source}: targets names {', '.join(map(repr, self.targets))}, not org {org_name!r} ({org_id})."
            )
        return names


def parse_release(text: str, source: str) -> Release:
    """
    Read a manifest.

    :param text: The YAML text.
    :param source: Where it comes from, for messages.
    :raises IdmcInputError: If it is no YAML, or does not fit the schema; every fault with its line and key.
    """
    import yaml

    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        nodes = _nodes(tree)
        data = yaml.safe_load(text)
        for node in nodes:
            if isinstance(node.value, str):
                node.value.encode()  # an escape can write half a character, which nothing could carry
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise IdmcInputError(f"{source}, line {line}: this is no YAML: {error.reason}.") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        shown = f", line {where.line + 1}" if where else ""
        raise IdmcInputError(f"{source}{shown}: this is no YAML: {getattr(error, 'problem', None) or error}.") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        # Tags written by hand, like !!bool x, fail in the reader in all these ways.
        raise IdmcInputError(f"{source}: this is no YAML: {type(error).__name__}: {error}.") from None
    faults = [_Fault(line, f"{key!r} occurs twice") for line, key in _repeated(tree)]
    faults += [_Fault(at.start_mark.line + 1, said) for node in nodes for at, said in _no_text(node)]
    faults += [fault for error in validator("release").iter_errors(data) for fault in _faults(error, tree)]
    if faults:
        found = sorted(set(faults), key=lambda f: f.line)
        lines = [f"{source}, line {fault.line}: {fault.text[:LONGEST]}." for fault in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"... and {len(found) - SHOWN} more")
        raise IdmcInputError("\n".join(lines))
    targets = {org: TargetNames(**(names or {})) for org, names in data.get("targets", {}).items()}
    read = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    del read["version"]
    values: dict[str, Any] = {**read, "source": source, "targets": targets}
    return Release(**values)


def find_objects(session: Session, release: Release) -> list[Asset]:
    """
    The objects of a release in the source org: those that it names, and what its patterns find.

    :param session: Session with the source org.
    :param release: The release.
    :raises IdmcNotFoundError: If the org lacks an object that the release names; all of them are told.
    :raises IdmcInputError: If a pattern of ``include`` finds nothing.
    """
    found = {asset.id: asset for asset in lookup(session, map(written, release.objects)) if asset}
    for pattern in release.include:
        hits = [asset for asset in _below(session, pattern) if _fits(asset, pattern, release.types)]
        if not hits:
            raise IdmcInputError(
                f"{release.source}: include has {pattern!r}, but org {session.login().org_name} has nothing like it."
            )
        found |= {a.id: a for a in hits if not any(fnmatchcase(a.path, out) for out in release.exclude)}
    return list(found.values())


@dataclass(frozen=True)
class _Fault:
    line: int
    text: str


def _fits(asset: Asset, pattern: str, types: tuple[str, ...]) -> bool:
    if same_type(asset.type, PROJECT) or same_type(asset.type, FOLDER):
        return False  # the assets in it fit by themselves; a container would bring all, also what is excluded
    return fnmatchcase(asset.path, pattern) and (not types or any(same_type(asset.type, type) for type in types))


def _below(session: Session, pattern: str) -> Iterator[Asset]:
    """What may fit a pattern: everything in the container that its fixed part names, at any depth."""
    fixed = pattern[: min((pattern.find(c) for c in _WILD if c in pattern), default=len(pattern))]
    container = fixed.rpartition("/")[0]
    if not container:
        yield from list_objects(session)
        return
    waiting, seen = [container], {container}
    while waiting:
        # IDMC lists what lies directly in a container, so folders are walked; some orgs list the project itself, too.
        for asset in list_objects(session, location=waiting.pop()):
            yield asset
            if same_type(asset.type, FOLDER) and asset.path not in seen:
                seen.add(asset.path)
                waiting.append(asset.path)


def _faults(error: Any, tree: Any) -> Iterator[_Fault]:
    """What a validation error says, with the line of the key that it is about."""
    path = list(error.absolute_path)
    where = ".".join(map(str, path)) or "the manifest"
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = error.schema.get("properties", {})
        for key in error.instance.keys() - known.keys():
            text = f"{where} has the unknown key {key!r}; known are {', '.join(known)}"
            yield _Fault(_line(tree, [*path, key]), text)
        return
    if error.validator == "anyOf":
        text = f"{where}: {error.instance!r} is neither OVERWRITE nor REUSE nor an object"
        yield _Fault(_line(tree, path), text if path else "a release needs objects or include")
        return
    yield _Fault(_line(tree, path), f"{where}: {error.message}")


def _line(node: Any, path: list[Any]) -> int:
    """Line of what a path leads to: of its key in a mapping."""
    line = node.start_mark.line + 1 if node is not None else 1
    for step in path:
        if isinstance(getattr(node, "value", None), list) and isinstance(step, int) and node.id == "sequence":
            node = node.value[step]
            line = node.start_mark.line + 1
            continue
        for key, value in node.value if getattr(node, "id", "") == "mapping" else ():
            if key.value == str(step):
                node, line = value, key.start_mark.line + 1
                break
    return line


def _nodes(tree: Any) -> list[Any]:
    """
    All nodes of a YAML tree, each once, however many anchors refer to it.

    :raises ValueError: If an anchor holds itself, or anchors multiply a few lines to more than anybody can mean.
    """
    sizes: dict[int, int] = {}
    nodes: list[Any] = []
    written = 0

    def size(node: Any) -> int:
        nonlocal written
        if id(node) not in sizes:
            sizes[id(node)] = 0
            nodes.append(node)
            # A long text counts by its lines, as an anchor can multiply that, too.
            own = 1 + (len(node.value) // 80 if isinstance(node.value, str) else 0)
            written += own
            sizes[id(node)] = own + sum(map(size, _inner(node)))
        elif not sizes[id(node)]:
            raise ValueError("an anchor holds itself")
        return sizes[id(node)]

    if tree is not None and size(tree) > written + ANCHORED:
        raise ValueError(f"its anchors stand for more than {ANCHORED} values")
    return nodes


def _inner(node: Any) -> list[Any]:
    if isinstance(node.value, str):
        return []
    return [inner for entry in node.value for inner in (entry if isinstance(entry, tuple) else (entry,))]


def _no_text(node: Any) -> Iterator[tuple[Any, str]]:
    """What looks like a name in YAML and is none: keys like NO or 0123, and values that can't become JSON."""
    for entry in [] if node.id == "scalar" else node.value:
        key, value = entry if isinstance(entry, tuple) else (None, entry)
        if key is not None and key.id == "scalar" and key.tag.rpartition(":")[2] not in ("str", "merge"):
            yield key, f"the key {key.value} is no text: put it in quotes"
        kind = value.tag.rpartition(":")[2]
        shown = value.value if value.id == "scalar" else kind
        if kind in _NO_JSON or (kind == "float" and shown.lower().lstrip("+-") in (".nan", ".inf")):
            yield value, f"the value {shown} is no text: put it in quotes"


def _repeated(node: Any) -> Iterator[tuple[int, str]]:
    """Keys that occur twice in a mapping, which YAML readers pass over in silence."""
    if node is None or isinstance(node.value, str):
        return
    seen: set[str] = set()
    for entry in node.value:
        if isinstance(entry, tuple):
            key, value = entry
            if str(key.value) in seen:
                yield key.start_mark.line + 1, str(key.value)
            seen.add(str(key.value))
            yield from _repeated(value)
        else:
            yield from _repeated(entry)
