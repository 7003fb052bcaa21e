"""What the SQL of a project does to the tables in use, while their successors are built in staging schemas."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from cht_sync.dbt.subprocess.sql_text import (
    CHAIN,
    Place,
    parts,
    place_of,
    quoted,
    renamed,
    statements,
    without_comments,
)

_IF = r"(?:if\s+(?:not\s+)?exists\s+)?"
_VIEW = re.compile(
    rf"create\s+(?:or\s+replace\s+)?(?P<temp>temp(?:orary)?\s+)?(?:recursive\s+)?(?:materialized\s+)?view\s+{_IF}(?P<name>{CHAIN})",
    re.I,
)
_DROP = re.compile(rf"drop\s+(?:materialized\s+)?view\s+{_IF}(?P<name>{CHAIN})", re.I)
_DROP_INDEX = re.compile(r"drop\s+index\b", re.I)
_TABLE = re.compile(rf"create\s+(?:unlogged\s+)?table\s+{_IF}(?P<name>{CHAIN})", re.I)
_ROUTINE = re.compile(r"create\s+(?:or\s+replace\s+)?(?:function|procedure|aggregate)\b", re.I)
_ALTER = re.compile(
    rf"alter\s+(?:(?:materialized\s+)?view|(?:foreign\s+)?table)\s+{_IF}(?:only\s+)?(?P<name>{CHAIN})", re.I
)
# What stands on one relation: which one comes after the word.
_UPON = re.compile(
    rf"create\s+(?:or\s+replace\s+)?(?:(?:constraint\s+)?trigger\b.*?\son|rule\b.*?\sto|policy\b.*?\son)\s+(?P<name>{CHAIN})",
    re.I | re.S,
)
_RIGHTS = re.compile(r"(?:grant|revoke|alter\s+default\s+privileges)\b", re.I)
_LISTS = re.compile(rf"alter\s+publication\s+{CHAIN}\s+(?:set|drop)\b", re.I)
_BLOCK = re.compile(r"do\b", re.I)
_FAR = re.compile(r"\bcreate\b[^;]*?\b(?:view|function|procedure)\b|\b(?:grant|revoke)\b", re.I)
_REFERS = re.compile(r"\breferences\b", re.I)
_REFERRED = re.compile(rf"\breferences\s+(?P<name>{CHAIN})", re.I)
_PATH = re.compile(r"set\s+(?:local\s+|session\s+)?search_path\s*(?:to|=)\s*", re.I)
_OF_DBT = "__dbt_"
# The tables in use whose successors are built.
_LIVE = """
from unnest(%s, %s) as live (schema, name)
join pg_namespace s on s.nspname = live.schema
join pg_class t on t.relnamespace = s.oid and t.relname = live.name"""
_REFERRING = f"""
select distinct n.nspname::text, c.relname::text {_LIVE}
join pg_constraint k on k.confrelid = t.oid
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
"""
_INDEXES = f"""
select n.nspname::text, i.relname::text {_LIVE}
join pg_index x on x.indrelid = t.oid
join pg_class i on i.oid = x.indexrelid
join pg_namespace n on n.oid = i.relnamespace
"""
_HANGING = f"""
with recursive hanging as (
    select t.oid {_LIVE}
    union
    select r.ev_class
    from hanging h
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = h.oid
        and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid and r.rulename = '_RETURN'
)
select n.nspname::text, c.relname::text
from hanging h join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace
"""  # noqa: S608 - a text of this module
NOTHING = "select 1"
Ask = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]


class Redirect:
    """Keeps the SQL of a project within the staging schemas, whether it says ``this`` or the name of a table in use.

    What is done to a table that is built there, or with its rows, is done there: keys, indexes, triggers, deletes.
    What lasts beside these tables, or gives rights, would show people what is not in use yet, and would be lost with
    the staging schemas where the rebuild fails: views, functions, keys of other tables, grants. It waits for the
    swap, with the names that the tables have then.

    :param moved: the staging schema for schema and name of each relation that is built there.
    :param schemas: the staging schema for each schema of a model.
    """

    def __init__(self, moved: Mapping[Place, str], schemas: Mapping[str, str], database: str) -> None:
        self._moved, self._schemas, self._database = moved, schemas, database
        self._live = {staging: schema for schema, staging in schemas.items()}
        self._own = {*moved, *((staging, name) for (_, name), staging in moved.items())}
        self._names = _any_of(self._own)
        self._of_live: dict[str, set[Place]] = {}
        self._one = threading.Lock()
        #: What waits for the swap: who asked for it, what it makes again or drops as ``schema.name``, its SQL.
        self.waiting: list[dict[str, str]] = []

    def now(self, text: str, by: str, ask: Ask) -> str:
        """What is to be executed in place of one statement or more.

        :param ask: executes a query where the text is to be executed, and gives the rows.
        """
        if not any(one.search(text) for one in (self._names, _RIGHTS, _DROP, _DROP_INDEX, _ALTER, _PATH)):
            return text
        pieces = statements(text)
        kept = [self._one_statement(piece, by, ask) for piece in pieces]
        return text if kept == pieces else ";\n".join(one for one in kept if one) or NOTHING

    def _one_statement(self, statement: str, by: str, ask: Ask) -> str:
        bare = without_comments(statement)
        if self._waits(bare, ask):
            self._wait(statement, by)
            return ""
        if _DROP_INDEX.match(bare):
            indexes = self._asked("indexes", _INDEXES, ask)
            return renamed(
                statement, lambda place: self._schemas.get(place[0]) if place in indexes else None, self._database
            )
        made = renamed(statement, self._there(ask), self._database, bool(_BLOCK.match(bare)))
        # A key to a table that is not built yet: both are in use after the swap alone.
        found = _REFERRED.search(made) if _ALTER.match(bare) and _REFERS.search(bare) else None
        if found and place_of(found["name"]) in self._moved:
            self._wait(statement, by)
            return ""
        return self._with_path(made)

    def _waits(self, bare: str, ask: Ask) -> bool:
        if _RIGHTS.match(bare):
            named = {name for chain in re.findall(CHAIN, bare) for name in parts(chain)[:2]}
            return bool(named & {*self._schemas, *self._live})
        if found := _DROP.match(bare):
            place = place_of(found["name"])
            return place not in self._own and place in self._asked("hanging", _HANGING, ask)
        if found := _ALTER.match(bare):
            place = place_of(found["name"])
            # A key of such a table may be dropped here, to be made again.
            if place not in self._own and place in self._asked("referring", _REFERRING, ask):
                return True
        return bool(self._names.search(bare)) and self._lasts_beside(bare)

    def _lasts_beside(self, bare: str) -> bool:
        """Whether a statement that names one of the tables makes something that is no part of one."""
        if _BLOCK.match(bare):
            return bool(_FAR.search(bare))
        if found := _VIEW.match(bare):
            return not found["temp"] and not self._is_own(found["name"])
        if found := _TABLE.match(bare):
            return not self._is_own(found["name"]) and bool(_REFERS.search(bare))
        if found := _ALTER.match(bare) or _UPON.match(bare):
            return not self._is_own(found["name"])
        return bool(_ROUTINE.match(bare) or _LISTS.match(bare))

    def _is_own(self, name: str) -> bool:
        place = place_of(name)
        return place in self._own or (place is not None and place[0] in self._live and _OF_DBT in place[1])

    def _wait(self, statement: str, by: str) -> None:
        bare = without_comments(statement)
        found = _VIEW.match(bare) or _DROP.match(bare)
        place = place_of(found["name"]) if found else None
        one = {
            "by": by,
            "view": ".".join(map(quoted, (self._live.get(place[0], place[0]), place[1]))) if place else "",
            "drops": "yes" if _DROP.match(bare) else "",
            "sql": self._in_use(statement.strip()),
        }
        with self._one:
            self.waiting = [each for each in self.waiting if each != one] + [one]

    def _in_use(self, statement: str) -> str:
        """With the names that the tables have after the swap: those of the staging schemas are no others'."""
        for staging, schema in self._live.items():
            statement = schema.join(re.split(rf"(?<![\w$]){re.escape(staging)}(?![\w$])", statement))
        return statement

    def _there(self, ask: Ask) -> Callable[[Place], str | None]:
        @cache
        def there(place: Place) -> str | None:
            if not (staging := self._moved.get(place)):
                return None
            name = f"{quoted(staging)}.{quoted(place[1])}"
            return staging if ask("select to_regclass(%s) is not null", (name,))[0][0] else None

        return there

    def _asked(self, what: str, query: str, ask: Ask) -> set[Place]:
        if what not in self._of_live:
            places = sorted(self._moved)
            rows = ask(query, ([schema for schema, _ in places], [name for _, name in places]))
            self._of_live[what] = {(schema, name) for schema, name in rows}
        return self._of_live[what]

    def _with_path(self, text: str) -> str:
        """Names without a schema are looked for where the tables are built, too."""
        start = _PATH.search(text)
        if not start or not _PATH.match(without_comments(text)):
            return text
        listed = text[start.end() :]

        def both(found: re.Match[str]) -> str:
            staging = self._schemas.get(parts(found[0].replace("'", '"'))[0])
            return f"{quoted(staging)}, {found[0]}" if staging else found[0]

        return text[: len(text) - len(listed)] + re.sub(rf"{CHAIN}|'[^']*'", both, listed)


def _any_of(places: Collection[Place]) -> re.Pattern[str]:
    """Finds the name of one of the relations, in quotes, bodies and texts too."""

    def written(name: str) -> str:
        return rf'"?{re.escape(name.replace(chr(34), chr(34) * 2))}"?'

    names = (rf"{written(schema)}\s*\.\s*{written(name)}" for schema, name in sorted(places))
    return re.compile(rf"(?<![\w$])(?:{'|'.join(names) or '(?!)'})(?![\w$])", re.I)
