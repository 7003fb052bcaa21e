"""Takes secrets out of what other programs say."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with each secret, also in base64 with a leading user name, and each ``user:password@`` as ``***``."""
    for secret in secrets:
        for form in (secret, base64.b64encode(f"{secret}:".encode()).decode()):
            text = text.replace(form, "***")
    return re.sub(r"(://)[^/\s@]+@", r"\1***@", text)
