""".env.template and docs/reference-settings.md, from the declarations of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from cht_sync.dashboards.settings import SupersetSection
from cht_sync.settings.alerts import AlertsSection, MetricsSection, StatusSection
from cht_sync.settings.models import ModelsSection
from cht_sync.settings.reports import ReportSection
from cht_sync.settings.servers import CouchDBSection, PostgresSection
from cht_sync.settings.setting import Line, Section, Setting
from cht_sync.settings.sync import ReconcileSection, SyncSection
from include.reference.compose_settings import CHTSync2Section, ComposeSection

WIDTH = 120
SECTIONS: tuple[type[Section], ...] = (
    CouchDBSection,
    PostgresSection,
    SyncSection,
    ReconcileSection,
    ModelsSection,
    SupersetSection,
    AlertsSection,
    StatusSection,
    MetricsSection,
    ReportSection,
    CHTSync2Section,
    ComposeSection,
)
TEMPLATE_HEAD = """\
# Settings of CHT Sync for Airflow, with the names CHT Sync 2.x uses. Copy this file to `.env` and fill in.
# `make demo` and `make pipeline` read `.env`; an Airflow of your own gets them as environment variables of its
# scheduler, DAG processor, triggerer, API server and workers. An empty value counts as not set. Airflow connections
# named below come first.
#
# Made by `make reference` from the declarations in plugins/cht_sync/settings: change them there.
"""
PAGE_HEAD = """# Settings

Made by `make reference` from the declarations in `plugins/cht_sync/settings`, as `.env.template` is: change them there.
The default is what stands there; an empty one means not set. What a value may be is checked by the task `sources` and
by `python -m cht_sync check`, before anything is written.
"""


def env_template() -> str:
    """The text of ``.env.template``."""
    lines = [TEMPLATE_HEAD.rstrip()]
    for section in SECTIONS:
        lines += ["", f"# --- {section.title} ".ljust(WIDTH - 1, "-")]
        for name, value, about in _lines(section):
            lines += wrap(about, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
            lines.append(f'{name}="{value}"' if " " in value else f"{name}={value}")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """The text of docs/reference-settings.md."""
    lines = [PAGE_HEAD]
    for section in SECTIONS:
        lines += [f"\n## {section.title}\n", "| variable | default | meaning |", "|---|---|---|"]
        for name, value, about in _lines(section):
            lines.append(f"| `{name}` | {f'`{value}`' if value else ''} | {about} |")
    return "\n".join(lines).replace("|  |", "| |").replace("|  |", "| |") + "\n"


def _lines(section: type[Section]) -> Iterator[Line]:
    for declared in vars(section).values():
        if isinstance(declared, Setting):
            yield from declared.lines()
