"""User-defined indexes, and what users set on any index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.errors import unfit
from cht_sync.dbt.rebuild.relation import Relation, lost_of, tried

# dbt names the indexes of a model's config by a hash.
# Source: ``index_create_sql`` and ``PostgresIndexConfig.render`` in dbt-postgres.
_INDEXES = """
select n.nspname::text, c.relname::text, i.indisunique, pg_get_indexdef(i.indexrelid), c.relname ~ '^[0-9a-f]{32}$',
    exists (select from pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u', 'x')),
    coalesce(c.reloptions, '{}'), s.spcname::text,
    array(select array[a.attnum::int, a.attstattarget::int] from pg_attribute a
        where a.attrelid = c.oid and a.attstattarget >= 0 order by a.attnum),
    obj_description(c.oid, 'pg_class'), i.indisclustered, i.indisreplident,
    array(select e.extname::text from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'x')
from pg_index i
join pg_class c on c.oid = i.indexrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_tablespace s on s.oid = c.reltablespace
where i.indrelid = %s
order by c.relname
"""
_WITH = re.compile(r" WITH \((?:[^()']|'(?:[^']|'')*')*\)")


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a relation; ``targets``: columns with a statistics target, each with that."""

    schema: str
    name: str
    unique: bool
    definition: str
    of_dbt: bool
    of_constraint: bool
    options: list[str]
    tablespace: str | None
    targets: list[list[int]]
    comment: str | None
    clustered: bool
    replica_identity: bool
    extensions: list[str]

    @property
    def using(self) -> str:
        """``btree (a) WHERE b`` of ``CREATE INDEX name ON schema.table USING btree (a) WHERE b``."""
        return self.definition.partition(" USING ")[2]

    @property
    def core(self) -> tuple[bool, str]:
        """What two equal indexes share, whatever their names and storage parameters."""
        return self.unique, _WITH.sub("", self.using, count=1)


def indexes(cursor: Cursor, oid: int) -> list[Index]:
    """The indexes of a relation; ``search_path`` has to be empty."""
    cursor.execute(_INDEXES, (oid,))
    return [Index(*row) for row in cursor.fetchall()]


def keep_indexes(cursor: Cursor, relation: Relation, wanted: Sequence[Index], place: str) -> list[str]:
    """Gives a relation the user-defined indexes of another one, and sets equal ones as they were there.

    :param place: name of the relation in messages.
    :return: what could not be kept, each with why.
    :raises SettingsError: if that is the replica identity.
    """
    lost, there = [], indexes(cursor, relation.oid)
    identity, remedy = f"The replica identity of {place}", f"`alter table {place} replica identity default`, or `full`"
    for one in wanted:
        found = _counterpart(one, there)
        if found is None and not one.of_dbt and not one.of_constraint:
            unique, index = sql.SQL("unique " if one.unique else ""), sql.Identifier(one.name)
            create = sql.SQL("create {}index {} on {} using {}")
            if said := tried(cursor, create.format(unique, index, relation.identifier, sql.SQL(one.using))):
                lost.append(f"the index {one.name} on {place} ({said})")
            else:
                found = _counterpart(one, indexes(cursor, relation.oid))
        if found is None:
            said = f"the index {one.name} is not there any more"
            if one.replica_identity:
                raise unfit(identity, said, remedy)
            lost += [f"the cluster mark of {place} ({said})"] if one.clustered else []
            continue
        lost += _set(cursor, one, found, f"the index {one.name} on {place}")
        name = sql.Identifier(found.name)
        if one.clustered:
            lost += lost_of(cursor, [(f"the cluster mark of {place}", relation.alter("cluster on {}", name))])
        if one.replica_identity and (said := tried(cursor, relation.alter("replica identity using index {}", name))):
            raise unfit(identity, said, remedy)
    return lost


def _counterpart(wanted: Index, there: Sequence[Index]) -> Index | None:
    """The index that is the same, of several the one of the same name."""
    same = [one for one in there if one.core == wanted.core]
    return next((one for one in same if one.name == wanted.name), same[0] if same else None)


def _set(cursor: Cursor, wanted: Index, index: Index, of: str) -> list[str]:
    """Sets on an index what users set on the other one; returns what could not be set, each with why."""

    identifier, steps = sql.Identifier(index.schema, index.name), []

    def alter(clause: str, *names: sql.Composable) -> sql.Composed:
        return sql.SQL("alter index {} ").format(identifier) + sql.SQL(clause).format(*names)

    for option in [one for one in wanted.options if one not in index.options]:
        key, _, value = option.partition("=")
        steps.append((key, alter(f"set ({key} = {{}})", sql.Literal(value))))
    if wanted.tablespace and wanted.tablespace != index.tablespace:
        steps.append(("the tablespace", alter("set tablespace {}", sql.Identifier(wanted.tablespace))))
    for target in wanted.targets:
        set_target = alter("alter column {} set statistics {}", *map(sql.Literal, target))
        steps.append(("the statistics target", set_target))
    if wanted.comment and not index.comment:
        text = sql.SQL("comment on index {} is {}").format(identifier, sql.Literal(wanted.comment))
        steps.append(("the comment", text))
    for extension in set(wanted.extensions) - set(index.extensions):
        steps.append(("the extension", alter("depends on extension {}", sql.Identifier(extension))))
    return lost_of(cursor, [(f"{what} of {of}", step) for what, step in steps])
