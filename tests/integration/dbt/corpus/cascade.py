"""Of cht-pipeline's shape: deletes by foreign keys, a log written by hooks; people use its tables for their own things."""

from __future__ import annotations

from tests.integration.dbt.corpus.project import Project
from tests.integration.dbt.deleting_project import FILES

PEOPLE = """
create schema people;
create view people.names as select uuid, edition from v1.contact;
create materialized view people.counts as select count(*) as n from v1.patient;
create table people.gone (uuid text);
create rule remember as on delete to v1.patient do also insert into people.gone values (old.uuid);
create rule remember_edits as on update to v1.contact do also insert into people.gone values ('edited ' || old.uuid);
alter table v1.contact replica identity full;
create publication cascade_contacts for table v1.contact;
alter table v1.report add column note text;
alter table v1.report drop column note;
create index by_edition on v1.report (edition) where edition = 'new';
create statistics v1.of_contacts (dependencies) on uuid, edition from v1.contact;
comment on column v1.patient.uuid is 'of the person';
grant select on v1.contact to public;
alter table v1.document_metadata add constraint short check (length(uuid) < 1000);
"""
STILL = {
    "select count(*) from people.names where uuid = 'ada'": [(1,)],
    "select tablename from pg_publication_tables where pubname = 'cascade_contacts'": [("contact",)],
    "select relreplident from pg_class where oid = 'v1.contact'::regclass": [("f",)],
    "select tablename from pg_rules where schemaname = 'v1' order by 1": [("contact",), ("patient",)],
    "select stxrelid::regclass::text from pg_statistic_ext where stxname = 'of_contacts'": [("v1.contact",)],
    "select tablename from pg_indexes where indexname = 'by_edition'": [("report",)],
    "select col_description('v1.patient'::regclass, 1)": [("of the person",)],
    "select has_table_privilege('public', 'v1.contact', 'select')": [(True,)],
    "select conrelid::regclass::text from pg_constraint where conname = 'short'": [("v1.document_metadata",)],
}
CASCADE = Project(
    files={
        **FILES,
        "models/report.sql": FILES["models/report.sql"].replace("= 'report'", "= 'data_record'"),
    },
    changes={
        "macros/edition.sql": "{% macro edition() %}new{% endmacro %}",
        "models/contact.sql": FILES["models/contact.sql"].replace("as name", "as full_name"),
        "models/models.yml": FILES["models/models.yml"].replace("{name: name,", "{name: full_name,"),
        "models/before.sql": None,
    },
    breaks="v1.contact",
    people=PEOPLE,
    still=STILL,
    logs=("v1.results",),
    findings={"v1.before": "v1.before is of no model any more: nothing updates it"},
)
