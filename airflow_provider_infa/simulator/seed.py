"""Reads seeds: what the orgs hold when the simulator starts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

from airflow_provider_infa.simulator import wire
from airflow_provider_infa.simulator.orgs import ALL_PRIVILEGES, Org, User
from airflow_provider_infa.simulator.planting import Planter, Seed, SeedError, only
from airflow_provider_infa.simulator.settings import Settings

_ORG_KEYS = frozenset(
    {
        "name", "id", "users", "settings", "faults", "runtime_environments", "connections", "schedules",
        "projects", "assets"
    }
)  # fmt: skip


def load(source: Seed | str | Path | None) -> Seed:
    """Return a seed: the default one for None, else a file's content or the mapping itself."""
    if isinstance(source, Mapping):
        return source
    if source is None:
        return _packaged()
    return _parse(Path(source).read_text(encoding="utf-8"))


@cache
def _packaged() -> Seed:
    """Return the default seed; tests ask for it often."""
    return _parse(files(__package__).joinpath("seed.yaml").read_text(encoding="utf-8"))


def _parse(text: str) -> Seed:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded = yaml.load(text, Loader=loader)  # noqa: S506 - both loaders are safe ones
    if not isinstance(loaded, Mapping):
        raise SeedError("a seed is a mapping with the key orgs")
    return loaded


def build(seed: Seed, folder: Path, passwords: Mapping[str, str] | str | None = None) -> dict[str, Org]:
    """Return the orgs of a seed.

    :param folder: where the orgs keep packages.
    :param passwords: one for all users, or by org; users without one get a random password.
    :raises SeedError: if the seed is not right.
    """
    only(seed, {"orgs", "settings"}, "the seed")
    orgs = seed.get("orgs")
    if not isinstance(orgs, Mapping) or not orgs:
        raise SeedError("a seed has at least one org under the key orgs")
    shared = seed.get("settings", {})
    built = {}
    for key, source in orgs.items():
        given = passwords if isinstance(passwords, str) else (passwords or {}).get(str(key))
        try:
            built[str(key)] = _org(str(key), source, folder, shared, given)
        except SeedError as error:
            raise SeedError(f"org {key}: {error}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SeedError(f"org {key}: {type(error).__name__}: {error}") from error
    return built


def _org(key: str, source: Seed, folder: Path, shared: Seed, password: str | None) -> Org:
    only(source, _ORG_KEYS, "the org")
    name = str(source.get("name", key))
    own = folder / key
    own.mkdir()
    users = [_user(user, name, password) for user in source.get("users", ["deployer"])]
    org = Org(
        key=key,
        name=name,
        id=str(source.get("id", wire.stable_id("org", name))),
        folder=own,
        users={user.name: user for user in users},
        settings=Settings().changed(shared).changed(source.get("settings", {})),
    )
    Planter(org, users[0].name).plant(source)
    for fault in source.get("faults", []):
        org.faults.add(fault)
    return org


def _user(source: str | Seed, org_name: str, password: str | None) -> User:
    values = {"name": source} if isinstance(source, str) else dict(source)
    only(values, {"name", "password", "privileges"}, "a user")
    name = str(values["name"])
    privileges = frozenset(values.get("privileges", ALL_PRIVILEGES))
    if unknown := privileges - ALL_PRIVILEGES:
        raise SeedError(f"user {name}: unknown privileges {', '.join(sorted(unknown))}")
    return User(
        name=name,
        id=wire.stable_id("user", org_name, name),
        password=str(values.get("password") or password or secrets.token_urlsafe(12)),
        privileges=privileges,
    )
