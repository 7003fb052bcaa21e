"""Settings of the Superset of the compose profile ``superset``: its key comes from a file."""

import os
from pathlib import Path

SECRETS = Path(os.environ.get("SUPERSET_SECRETS", "/run/secrets"))
SHORTEST = 32

SECRET_KEY = (SECRETS / "superset_secret_key").read_text("utf-8").strip()
if len(SECRET_KEY) < SHORTEST:
    raise SystemExit(
        f"The file superset_secret_key holds {len(SECRET_KEY)} characters: write at least {SHORTEST} random ones into"
        " it, for example by openssl rand -base64 42."
    )
# Without this a cookie of a login would be sent along from pages of others; the UI is behind a proxy with TLS.
SESSION_COOKIE_SAMESITE = "Lax"
# The cookie goes over https alone, and the proxy's word on https is taken, where people come by https.
SESSION_COOKIE_SECURE = ENABLE_PROXY_FIX = os.environ.get("SUPERSET_URL", "").strip().lower().startswith("https://")
