"""The weekly report upon a table as the starter's model ``data_record`` makes it."""

from __future__ import annotations

import csv
from datetime import UTC, datetime

import pytest

from cht_sync.errors import SettingsError
from cht_sync.reports.files import whole
from cht_sync.reports.weekly import COLUMNS, Week, WeeklyReport
from cht_sync.settings.connections import report_connection

pytestmark = pytest.mark.integration

WEEK = Week(2026, 1)


@pytest.fixture
def report(database, tmp_path):
    database.rows(
        "create schema v1; create table v1.data_record (uuid varchar primary key, saved_timestamp timestamp,"
        " reported timestamptz, form varchar, patient_id varchar, contact_uuid varchar)"
    )
    return WeeklyReport(report_connection(), "v1", "cht_report", tmp_path / "reports")


def reports(database, form, count, reporters, patients, at="2025-12-31T12:00:00Z"):
    database.rows(
        "insert into v1.data_record select gen_random_uuid()::text, now(), %s, %s, 'secret patient ' || n %% %s,"
        " 'secret person ' || n %% %s from generate_series(1, %s) as n",
        at, form, patients, reporters, count,
    )  # fmt: skip


def lines(tmp_path, week=WEEK):
    with (tmp_path / "reports" / f"weekly_report_{week}.csv").open(newline="") as file:
        return list(csv.reader(file))


def stored(database):
    return database.rows("select week, form, reports, reporters, patients from cht_report.weekly_report order by form")


def test_a_week_is_counted_and_small_counts_are_left_empty(report, database, tmp_path):
    reports(database, 'a,b "form"\nü', 20, 7, 20)
    reports(database, "visit", 20, 2, 20)
    reports(database, "rare", 4, 4, 4)
    reports(database, None, 5, 5, 5)
    reports(database, "before", 9, 9, 9, at="2025-12-28T23:59:59Z")
    reports(database, "after", 9, 9, 9, at="2026-01-05T00:00:00Z")
    reports(database, "visit", 1, 1, 1, at="2025-12-29T00:00:00Z")
    assert not report.is_written(WEEK)
    assert report.write(WEEK) == 4
    assert report.is_written(WEEK)
    assert lines(tmp_path) == [
        list(COLUMNS),
        ["2026-W01", "", "5", "5", "5"],
        ["2026-W01", 'a,b "form"\nü', "20", "7", "20"],
        ["2026-W01", "rare", "", "", ""],
        ["2026-W01", "visit", "21", "", "20"],
    ]
    assert [[each or "" for each in map(str, row)] for row in stored(database) if None not in row] == [
        line for line in lines(tmp_path)[1:] if all(line[2:])
    ]
    everything = (tmp_path / "reports" / "weekly_report_2026-W01.csv").read_text() + str(stored(database))
    assert "secret" not in everything


def test_once_more_takes_the_place_of_what_was_written(report, database, tmp_path):
    reports(database, "visit", 6, 6, 6)
    reports(database, "wrong", 6, 6, 6)
    report.write(WEEK)
    database.rows("delete from v1.data_record where form = 'wrong'")
    reports(database, "visit", 6, 6, 6)
    for _ in range(2):
        assert report.write(WEEK) == 1
    assert stored(database) == [("2026-W01", "visit", 12, 6, 6)]
    assert lines(tmp_path)[1:] == [["2026-W01", "visit", "12", "6", "6"]]
    report.write(Week(2026, 2))
    assert lines(tmp_path, Week(2026, 2)) == [list(COLUMNS)]
    left = {path.name for path in (tmp_path / "reports").iterdir() if path.suffix != ".parquet"}
    assert left == {"weekly_report_2026-W01.csv", "weekly_report_2026-W02.csv"}


def test_parquet_has_the_same_rows(report, database, tmp_path):
    from pyarrow import parquet

    reports(database, "visit", 6, 6, 6)
    report.write(WEEK)
    table = parquet.read_table(tmp_path / "reports" / "weekly_report_2026-W01.parquet")
    assert table.to_pylist() == [
        {"week": "2026-W01", "form": "visit", "reports": 6, "reporters": 6, "patients": 6}
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made_is_named(database, tmp_path):
    (tmp_path / "file").write_text("")
    report = WeeklyReport(report_connection(), "v1", "cht_report", tmp_path / "file" / "reports")
    with pytest.raises(SettingsError, match="CHT_REPORT_DIR"):
        report.write(WEEK)


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "file.csv"
    target.write_text("before")

    def fail(path):
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        whole(target, fail)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file.csv", "before")]


def test_weeks():
    assert str(Week.last(datetime(2026, 1, 5, 0, 0, tzinfo=UTC))) == "2026-W01"
    assert str(Week.last(datetime(2026, 1, 4, 23, 59, tzinfo=UTC))) == "2025-W52"
    assert Week.of("2026-W01").begin == datetime(2025, 12, 29, tzinfo=UTC)
    assert Week.of("2026-W53").end == datetime(2027, 1, 4, tzinfo=UTC)
    for wrong in ("2026-W54", "W1", "2026-01-01", "'; drop table x"):
        with pytest.raises(SettingsError, match="is no ISO week"):
            Week.of(wrong)
