"""The table ``couchdb_incident``: which alerts were sent, and which are to be sent next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from cht_sync.monitoring.alerts.condition import NEWS, Condition
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.query import Names

_SEE = """
insert into {schema}.couchdb_incident (kind, subject, text, opened_at, newest)
values (%(kind)s, %(subject)s, %(text)s, coalesce(%(since)s, now()), %(newest)s)
on conflict (kind, subject) where resolved_at is null
do update set last_seen = now(), text = excluded.text, newest = excluded.newest
"""
# News is sent once: its row stays, so that it is not opened again while it is new.
_KNOWN_NEWS = """
select exists (select from {schema}.couchdb_incident where kind = %(kind)s and subject = %(subject)s
    and opened_at >= %(since)s)
"""
_RESOLVE = """
update {schema}.couchdb_incident set resolved_at = now()
where resolved_at is null and kind = any(%(kinds)s) and not (kind, subject) in (
    select * from unnest(%(seen_kinds)s::varchar[], %(subjects)s::varchar[])
)
"""
# What a long incident gathers is sent once a day.
_TELL_AGAIN = """
update {schema}.couchdb_incident set told = array[]::varchar[]
where resolved_at is null and newest > notified_at and notified_at < now() - interval '1 day'
"""
# That it is resolved is also sent to channels that failed when it began; but only where that was tried.
_TO_TELL = """
select id, kind, subject, text, opened_at, resolved_at, recovered, message.told
from (
    select *, resolved_at is not null and kind <> all(%(news)s) as recovered from {schema}.couchdb_incident
) incident
cross join lateral (
    select case when recovered then recovery_told else incident.told end
) message (told)
where (resolved_at is null or resolved_at > now() - interval '1 day')
    and (not recovered or tried_at is not null)
    and not exists (
        select from unnest(%(kinds)s::varchar[], %(before)s::timestamptz[]) as patient (kind, before)
        where patient.kind = incident.kind and incident.opened_at >= patient.before
    )
    and not (message.told @> %(channels)s::varchar[] or '*' = any(message.told))
order by id
"""
_TRIED = "update {schema}.couchdb_incident set tried_at = now() where id = any(%s) and tried_at is null"
_TOLD = """
update {schema}.couchdb_incident set notified_at = now(), told = array_append(told, %(channel)s)
where id = any(%(ids)s)
"""
_RECOVERY_TOLD = """
update {schema}.couchdb_incident
set recovery_notified_at = now(), recovery_told = array_append(recovery_told, %(channel)s)
where id = any(%(ids)s)
"""
_PRUNE = "delete from {schema}.couchdb_incident where resolved_at < now() - make_interval(days => %s)"


@dataclass(frozen=True, slots=True)
class Incident:
    """What one alert is about.

    :param until: when it ended; None while it lasts.
    :param recovered: whether this is the message that it is resolved.
    :param told: channels that took this message already.
    """

    id: int
    kind: str
    subject: str
    text: str
    since: datetime
    until: datetime | None
    recovered: bool
    told: Collection[str] = ()


class Incidents:
    """Opens and closes incidents, each call inside a transaction of whoever calls."""

    def __init__(self, schema: str) -> None:
        self._names = Names(schema)

    def judge(self, cursor: Cursor, conditions: Iterable[Condition], kinds: Iterable[str]) -> None:
        """Opens what is new and closes what is over.

        :param kinds: kinds that were looked for: what is not the case any more is closed among them only.
        """
        Locks(self._names.schema).wait(cursor, f"{self._names.schema} incidents")
        found = list(conditions)
        for each in found:
            if each.kind not in NEWS or not self._is_known(cursor, each):
                self.see(cursor, each)
        seen = [each for each in found if each.kind not in NEWS]
        values = {"seen_kinds": [each.kind for each in seen], "subjects": [each.subject for each in seen]}
        self._names.execute(cursor, _RESOLVE, {"kinds": list(kinds), **values})

    def see(self, cursor: Cursor, condition: Condition) -> None:
        """Opens an incident, or updates one that is open."""
        values = {name: getattr(condition, name) for name in ("kind", "subject", "text", "since", "newest")}
        self._names.execute(cursor, _SEE, values)

    def _is_known(self, cursor: Cursor, condition: Condition) -> bool:
        values = {"kind": condition.kind, "subject": condition.subject, "since": condition.since}
        return bool(self._names.value(cursor, _KNOWN_NEWS, values))

    def to_tell(self, cursor: Cursor, channels: Collection[str], patience: Mapping[str, datetime]) -> list[Incident]:
        """Incidents of which a message is to be sent, in the order in which they began.

        :param channels: names of those that every message is to go through.
        :param patience: messages about these kinds are sent only once they were opened before that moment.
        """
        self._names.execute(cursor, _TELL_AGAIN)
        kinds, before = list(patience), list(patience.values())
        values = {"news": list(NEWS), "channels": list(channels), "kinds": kinds, "before": before}
        found = [Incident(*row) for row in self._names.execute(cursor, _TO_TELL, values).fetchall()]
        self._names.execute(cursor, _TRIED, ([each.id for each in found],))
        return found

    def told(self, cursor: Cursor, incidents: Sequence[Incident], channel: str) -> None:
        """Records that a message was sent.

        :param incidents: what one message was about, all begun or all resolved.
        """
        values = {"ids": [each.id for each in incidents], "channel": channel}
        self._names.execute(cursor, _RECOVERY_TOLD if incidents[0].recovered else _TOLD, values)

    def prune(self, cursor: Cursor, days: int) -> None:
        """Forgets what ended long ago."""
        self._names.execute(cursor, _PRUNE, (days,))
