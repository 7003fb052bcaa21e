"""What a message may show is judged in one package; nobody else reads what PostgreSQL quotes, or hides a secret."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "plugins" / "cht_sync"
ELSEWHERE = re.compile(r"\.diag\.(?:message|context|internal)\w*|\.pgerror\b|\"\*\*\*\"|'\*\*\*'")


def test_nobody_else_takes_values_or_secrets_out_of_messages():
    files = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "redaction"]
    found = {str(file.relative_to(PACKAGE)) for file in files if ELSEWHERE.search(file.read_text("utf-8"))}
    assert len(files) > 200
    assert found == set()
