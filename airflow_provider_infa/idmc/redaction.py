"""Taking secrets out of what servers write, should they echo them."""

from __future__ import annotations

import html
import json
from collections import deque
from urllib.parse import quote

#: Session ids to remember. Older ones are of no use to anybody.
REMEMBERED = 50


class Redactor:
    """
    Replaces known secrets in a text by asterisks, also as HTML, JSON and URLs write them.

    :param password: A secret for good.
    """

    def __init__(self, password: str) -> None:
        self._password = password
        self._others: deque[str] = deque(maxlen=REMEMBERED)

    def remember(self, secret: str) -> None:
        """Replace this secret from now on, too; the oldest is forgotten at some time."""
        self._others.append(secret)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in (self._password, *tuple(self._others)):
            for form in {secret, html.escape(secret), quote(secret), json.dumps(secret)[1:-1]} if secret else ():
                text = text.replace(form, "***")
        return text
