"""What alerts say of each kind of finding: what is the case, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cht_sync.common.text import counted, moment
from cht_sync.monitoring.airflow_state import TaskError
from cht_sync.monitoring.finding import Finding, Kind
from cht_sync.monitoring.sentences import of_form_notices, of_gone_owner, of_older_revisions
from cht_sync.monitoring.source_state import last_reconciled


@dataclass(frozen=True, slots=True)
class Alert:
    """What is the same in all messages of one name.

    :param todo: what to do; ``{models}`` is the DAG that runs the models.
    :param link: path of Airflow's UI, with the same and ``{subject}``; what follows a ``#`` is for one subject alone.
    """

    title: str
    todo: str
    link: str = "/dags/cht_sync"


ALERTS = {
    "source": Alert(
        "A source is not copied",
        "Where no reason is given here, the newest log of the task sync says what is wrong."
        " Nothing is lost; the copy continues where it stopped.",
        "/dags/cht_sync/tasks/sync",
    ),
    "behind": Alert(
        "A source is behind CouchDB",
        "Nothing is lost, but rows are older than they should be. Where each run ends with changes pending, let it"
        " read longer (CHT_SYNC_TIME_BUDGET) or run more often (CHT_SYNC_SCHEDULE); its log tells how fast it reads.",
        "/dags/cht_sync/tasks/sync",
    ),
    "freshness": Alert(
        "The models are behind",
        "Check whether runs of {models} fail, take long or are paused: couchdb_model_run says how far they came.",
        "/dags/{models}",
    ),
    "quarantine": Alert(
        "Documents are in quarantine",
        "See the reasons on the status page or in couchdb_quarantine. All other documents are copied; a later revision"
        " that can be stored takes its document out of quarantine.",
        "/cht-sync/#list=quarantine&source={subject}",
    ),
    "models": Alert(
        "Models fail",
        "Open the newest run: the log of the model's task holds dbt's message. The copy continues, readers keep the"
        " rows of the last successful run, and the next run tries the model first.",
        "/dags/{models}",
    ),
    "guard": Alert(
        "Models are blocked by the row-loss check",
        "Find out why the model failed or lost rows. Once that is fixed the models run again; if the rows are right as"
        " they are, trigger {models} with lift_guard (Allow row loss).",
        "/dags/{models}",
    ),
    "proof": Alert(
        "PostgreSQL differs from CouchDB",
        "Open the newest run of cht_reconcile: couchdb_reconciliation has the result and the reason of each part."
        " Trigger it with full_proof (Full comparison) once the reason is fixed.",
        "/dags/cht_reconcile",
    ),
    "reconciliation_overdue": Alert(
        "The reconciliation with CouchDB is overdue",
        "Check whether cht_reconcile is paused, fails or still runs (CHT_RECONCILE_SCHEDULE says when it is due). To"
        " compare now, trigger it. The copy itself goes on.",
        "/dags/cht_reconcile",
    ),
    "deployment": Alert(
        "A new version of the dbt project cannot be deployed",
        "The log of the failed task holds dbt's message. The version in use stays, and the next run tries again.",
        "/dags/cht_pipeline_deploy",
    ),
    "collision": Alert(
        "Documents cannot reach the models, as their ids belong to a source that is no longer configured",
        "If it is the same server under a new name, run `python -m cht_sync rename-source <old> <new>`, or keep the old"
        " name by 'instance' in the extra of its connection.",
        "/cht-sync/",
    ),
    "doubt": Alert(
        "A source may be incomplete",
        "All documents have to be compared, which no run of cht_reconcile has completed since. Check whether it is"
        " paused or fails, and trigger it. No row was changed because of this.",
        "/dags/cht_reconcile",
    ),
    "older_revision": Alert(
        "CouchDB shows older revisions than are stored, or none",
        "After a restored backup trigger cht_sync with the source in accept_older: rows are set to what CouchDB"
        " shows. Otherwise that happens without you once CouchDB has shown it for CHT_OLDER_AFTER minutes, or the rows"
        " stay if a node of a CouchDB cluster was only lagging.",
        "/cht-sync/",
    ),
    "task": Alert("A task fails", "Follow the text above; the next run tries again.", "/cht-sync/"),
    "unknown": Alert(
        "Part of the state cannot be read",
        "End the session that is named or wait for it, or grant the privilege. Alerts that depend on it are not sent"
        " until then.",
        "/cht-sync/",
    ),
    "settings": Alert("The settings cannot be used", "Correct the setting that the text names."),
    "postgres": Alert(
        "PostgreSQL does not answer",
        "Until it answers nothing is copied and nothing is lost: the runs continue once it is back.",
    ),
    "forms": Alert(
        "A deployment has changed tables of forms",
        "Nothing, unless a dashboard uses what is named; CHT_ALERT_FORMS=false turns these messages off.",
        "/dags/cht_pipeline_deploy",
    ),
    "first_load": Alert("A first load is complete", "Nothing: the changes feed is followed from now on."),
}


def of_alert(findings: Sequence[Finding]) -> str:
    """What an alert says is the case, and in a second line why; never content or ids of documents.

    :param findings: of one subject and one alert.
    """
    kind, about = findings[0].kind, findings[0].about
    if kind in {Kind.SHRUNK, Kind.HELD, Kind.MODELS}:
        names = ", ".join(sorted(model.name for each in findings for model in each.about))
        said = "In" if kind is Kind.MODELS else "Blocked by the row-loss check in"
        return f"{said} schema {findings[0].subject}: {names}."
    return _SAID[kind](findings[0].subject, about)


def _why(error: TaskError | None) -> str:
    """The error of the task, as a line of its own."""
    if error is None:
        return ""
    tries = counted(error.tries, "try", "tries", error.tries)
    return f"\n{error.message} Retrying since {moment(error.first_at)}, {tries} failed."


def _not_read(name: str, source: Any) -> str:
    said = "was last read successfully at that time" if source.looked_at else "was never read successfully"
    return f"{name} {said}.{_why(source.error)}"


def _behind(name: str, source: Any) -> str:
    pending = "unknown" if source.pending is None else f"{source.pending:,}"
    return f"{name} was up to date at that time. Changes pending when it was last read: {pending}.{_why(source.error)}"


def _models_behind(name: str, group: Any) -> str:
    if group.succeeded_at is None:
        return f"The models of {name} have never completed a run; documents wait for them since then."
    return f"Documents wait for the models of {name} since then."


def _quarantined(name: str, about: Any) -> str:
    source, held = about
    number = held.number if held else source.quarantined
    return f"{counted(number, 'document', 'documents', number)} of {name} could not be stored."


def _proof(name: str, source: Any) -> str:
    if source.proof.verdict == "in doubt":
        return f"The reconciliation {source.proof.run} of {name} was inconclusive."
    return f"The reconciliation {source.proof.run} found that {name} differs from CouchDB."


def _overdue(name: str, source: Any) -> str:
    return f"No reconciliation of {name} has {'succeeded since then' if last_reconciled(source) else 'ever succeeded'}."


_SAID = {
    Kind.PART: lambda _name, part: part.text,
    Kind.SOURCE: _not_read,
    Kind.RETRYING: _not_read,
    Kind.MISSED: _not_read,
    Kind.UNREAD: _not_read,
    Kind.BEHIND: _behind,
    Kind.LOADED: lambda name, load: f"{name}: {load.documents:,} documents since {moment(load.began)}, all verified.",
    Kind.FORM_NOTICE: lambda _name, each: of_form_notices(each),
    Kind.GONE_OWNER: lambda _name, each: "\n".join(of_gone_owner(each)),
    Kind.DOUBT: lambda _name, source: source.doubt.text,
    Kind.OLDER_REVISION: lambda _name, source: of_older_revisions(source.older_revisions)[0],
    Kind.PROOF: _proof,
    Kind.RECONCILIATION_OVERDUE: _overdue,
    Kind.QUARANTINE: _quarantined,
    Kind.MODELS_BEHIND: _models_behind,
    Kind.TASK: lambda _name, error: f"Task {error.name} of {error.dag_id} fails.{_why(error)}",
    Kind.DEPLOYMENT: lambda _name, error: f"The task {error.name} of {error.dag_id} failed.{_why(error)}",
}
