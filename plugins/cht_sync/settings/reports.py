"""The settings of the example of batch analytics."""

from __future__ import annotations

from pathlib import Path

from cht_sync.settings.setting import SchemaName, Section, Text


class ReportSection(Section):
    """Where the weekly report goes."""

    title = "The weekly report, an example of batch analytics: docs/how-to-report.md"
    # fmt: off
    _report_dir = Text(
        "CHT_REPORT_DIR",
        about="An absolute folder that workers may write; without one there is no DAG cht_weekly_report.",
    )
    report_schema = SchemaName("CHT_REPORT_SCHEMA", "cht_report", about="The schema of its table.")
    # fmt: on

    @property
    def report_dir(self) -> Path | None:
        """The folder for the files of the report; None for no report."""
        value = self._report_dir
        if value and not Path(value).is_absolute():
            raise ReportSection._report_dir.refused(value, "has to begin with /: workers run anywhere.")
        return Path(value) if value else None
