"""The variables of the example of batch analytics."""

from __future__ import annotations

from pathlib import Path

from cht_sync.errors import SettingsError
from cht_sync.settings.models import ModelSettings


class ReportSettings(ModelSettings):
    """Where the weekly report goes; with no folder there is none."""

    @property
    def report_dir(self) -> Path | None:
        """``CHT_REPORT_DIR``: an absolute folder for the files of the weekly report, default none: no report."""
        value = self.text("CHT_REPORT_DIR")
        if value and not Path(value).is_absolute():
            raise SettingsError(
                f"CHT_REPORT_DIR={value!r} has to begin with /: workers run anywhere.", "CHT_REPORT_DIR"
            )
        return Path(value) if value else None

    @property
    def report_schema(self) -> str:
        """``CHT_REPORT_SCHEMA``: the schema of the table ``weekly_report``, default ``cht_report``."""
        return self._schema("CHT_REPORT_SCHEMA", "cht_report")

    @property
    def data_record_uri(self) -> str | None:
        """The asset of the model ``data_record``; None where a connection of Airflow's names the host."""
        host = self.text("DBT_POSTGRES_HOST") or self.text("POSTGRES_HOST")
        postgres = self.postgres
        if not host:
            return None
        return f"postgres://{host}:{postgres.port}/{postgres.database}/{self.dbt_schema}/data_record"
