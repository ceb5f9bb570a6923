"""Open sessions of one org and how they end."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass

from airflow_provider_infa.simulator import errors, wire
from airflow_provider_infa.simulator.settings import Settings


@dataclass
class Session:
    """One login that has not ended."""

    id: str
    user: str
    ends: float
    sliding: bool


class SessionBook:
    """The sessions of one org. One id serves v2 and v3 alike (Informatica docs: Session IDs)."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self.logins = 0
        self.failed_logins = 0
        self.logouts = 0
        self.expired = 0

    def open(self, user: str, settings: Settings) -> Session:
        """Start a session."""
        sliding = settings.session_kind == "sliding"
        ends = time.monotonic() + settings.idle_timeout
        id_ = wire.new_id() if sliding else _jwt(user, settings.idle_timeout)
        session = Session(id_, user, ends, sliding)
        self._sessions[session.id] = session
        self.logins += 1
        return session

    def use(self, id_: str | None, settings: Settings) -> Session:
        """Return the session that a call names; each call lets a sliding one live on.

        :raises ApiError: 401 if there is no such session (any more).
        """
        self._sweep()
        session = self._sessions.get(id_ or "")
        if session is None:
            raise errors.no_session()
        if session.sliding:
            session.ends = time.monotonic() + settings.idle_timeout
        return session

    def close(self, id_: str) -> None:
        """End one session by logging out."""
        del self._sessions[id_]
        self.logouts += 1

    def close_all(self) -> int:
        """End all sessions by logging out; return how many there were."""
        count = len(self._sessions)
        self._sessions.clear()
        self.logouts += count
        return count

    def expire_all(self) -> int:
        """Let all sessions expire now; return how many there were."""
        count = len(self._sessions)
        self._sessions.clear()
        self.expired += count
        return count

    def left(self, id_: str, user: str) -> float | None:
        """Return the seconds that a user's session has left; None if it is not valid. Does not prolong it."""
        self._sweep()
        session = self._sessions.get(id_)
        return session.ends - time.monotonic() if session and session.user == user else None

    def counts(self) -> dict[str, int]:
        """Return what the control endpoint tells about sessions."""
        self._sweep()
        return {
            "open": len(self._sessions),
            "logins": self.logins,
            "failed_logins": self.failed_logins,
            "logouts": self.logouts,
            "expired": self.expired,
        }

    def _sweep(self) -> None:
        moment = time.monotonic()
        for session in [s for s in self._sessions.values() if s.ends <= moment]:
            del self._sessions[session.id]
            self.expired += 1


def _jwt(user: str, seconds: float) -> str:
    """Return an id of the form that orgs with JWT authentication give out; it is long (up to 16,000
    characters).
    """
    moment = int(time.time())
    claims = {"sub": user, "iat": moment, "exp": moment + int(seconds), "jti": wire.new_id()}
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode()]
    parts.append(secrets.token_bytes(1024))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
