"""What the corpus says of a dbt project: its files, its second version, what people have put on its tables."""

from __future__ import annotations

from dataclasses import dataclass, field

RAW = "{{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }}"


@dataclass(frozen=True)
class Project:
    """A dbt project as somebody else wrote it.

    :param files: of its first version, by path.
    :param changes: the files of its second version that differ; None for one that is not there any more.
    :param breaks: table of an incremental model, which refuses all rows for a while.
    :param people: SQL of what people put on the tables.
    :param still: questions to the database, and what they answer before and after all.
    :param logs: relations that tell of runs of dbt: their rows are not compared.
    :param since: relations that also hold what was before, of which those rows count that are valid now.
    :param findings: what is not as from scratch, by relation, and what is said of that in the log of a deployment or a run.
    """

    files: dict[str, str]
    changes: dict[str, str | None]
    breaks: str
    people: str = ""
    still: dict[str, object] = field(default_factory=dict)
    logs: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    findings: dict[str, str] = field(default_factory=dict)
