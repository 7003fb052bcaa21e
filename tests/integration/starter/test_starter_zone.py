"""Dates are those of UTC, whatever the time zone of the session."""

import pytest
from starter_documents import person, report, telemetry
from starter_warehouse import DATABASE, Warehouse

pytestmark = pytest.mark.integration


def test_dates_do_not_depend_on_the_time_zone_of_the_session(warehouse: Warehouse) -> None:
    """Whatever the server's zone is, and after it has changed, a period begins at midnight in UTC."""
    select = ("--select", "document_metadata", "data_record", "telemetry", "telemetry_devices")
    try:
        for number, zone in enumerate(("Africa/Nairobi", "America/Los_Angeles")):
            warehouse.execute(f"alter database {DATABASE} set timezone = '{zone}'")
            warehouse.save(telemetry(f"t{number}"), person(f"p{number}"), report(f"r{number}"))
            warehouse.run(*select)
        for table in ("telemetry", "telemetry_devices"):
            found = warehouse.rows(f"select uuid, (period_start at time zone 'UTC')::text from {table} order by 1")
            assert found == [("t0", "2024-09-11 00:00:00"), ("t1", "2024-09-11 00:00:00")]
        assert warehouse.value("select count(distinct reported) from data_record") == 1
        before = warehouse.rows("select xmin::text from telemetry order by uuid")
        warehouse.run("--full-refresh", *select)
        assert warehouse.rows("select xmin::text from telemetry order by uuid") == before
    finally:
        warehouse.execute(f"alter database {DATABASE} reset timezone")
