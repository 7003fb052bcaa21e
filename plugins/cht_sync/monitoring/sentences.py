"""What people read of each kind of finding: what is the case, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cht_sync.common.text import counted, moment
from cht_sync.monitoring.finding import Finding, Kind
from cht_sync.monitoring.state import MOST, GoneOwner, OlderRevisions, RemovedModel, TaskError

# Those that are there whatever the settings say; others are named in the README.
UNPAUSE = "Unpause cht_sync, and cht_pipeline_deploy, cht_reconcile and cht_data_tests, which are paused at first too."


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is the same in all findings of a kind.

    :param shown: what the page calls the kind; empty where the page does not tell of it.
    :param remedy: what to do, on the page; ``{models}`` is the DAG that runs the models.
    :param link: page of Airflow's UI, relative to its root, with the same.
    :param text: what is the case, where that needs no numbers.
    :param alert: what alerts call it, and the table of incidents; empty where they do not tell of it.
    """

    shown: str
    remedy: str = ""
    link: str = ""
    text: str = ""
    alert: str = ""


CATALOGUE: dict[Kind, Sentence] = {
    Kind.START: Sentence(
        "start", f"{UNPAUSE} `python -m cht_sync check` says what they lack.", "dags/cht_sync",
        "No source has been read.",
    ),
    Kind.DESTINATION: Sentence("destination", alert="postgres"),
    Kind.PART: Sentence("part", "Everything else on this page was read just now.", alert="unknown"),
    Kind.DAG: Sentence(
        "dag", "Look at the import errors on Airflow's home page, and whether the DAG processor runs.", "dags",
        "Airflow does not know the DAG cht_sync.",
    ),
    Kind.PAUSED: Sentence("paused", UNPAUSE, "dags/cht_sync", "The DAG cht_sync is paused."),
    Kind.SCHEDULER: Sentence(
        "scheduler", "Start `airflow scheduler` again; its log says why it ended.",
        text="Airflow's scheduler gives no sign of life: no run starts, so nothing is copied.",
    ),
    Kind.TRIGGERER: Sentence(
        "triggerer", "Start `airflow triggerer`, with the settings and connections of the workers.",
        text="Airflow's triggerer gives no sign of life, and triggers wait for it: in event mode no change in CouchDB"
        " starts a run.",
    ),
    Kind.DUE: Sentence(
        "due", "See whether the scheduler runs.", "dags/cht_sync", "A run of cht_sync is due and has not started."
    ),
    Kind.SETTINGS: Sentence(
        "settings", "Its log names the setting and the remedy.",
        text="Nothing is copied, as the settings cannot be used: task sources failed.", alert="settings",
    ),
    Kind.RUN: Sentence("run", "The log says why; the next run takes up what is left."),
    Kind.SOURCE: Sentence("source", "The next run goes on where this one stopped.", "dags/cht_sync", alert="source"),
    Kind.RETRYING: Sentence(
        "retrying", "Nothing is lost. It is tried again by itself.", "dags/cht_sync", alert="source"
    ),
    Kind.MISSED: Sentence(
        "behind", "See whether cht_sync runs, and how its task's log says that it ended.", "dags/cht_sync",
        alert="source",
    ),
    Kind.BEHIND: Sentence(
        "behind", "See whether cht_sync runs, and how its task's log says that it ended.", "dags/cht_sync",
        alert="behind",
    ),
    Kind.UNREAD: Sentence("unread", "The next run of cht_sync reads {it}.", "dags/cht_sync", alert="source"),
    Kind.LOADING: Sentence("loading", link="dags/cht_sync"),
    Kind.LOADED: Sentence("", alert="first_load"),
    Kind.GONE_OWNER: Sentence("gone_owner", alert="collision"),
    Kind.DOUBT: Sentence(
        "doubt", "Nothing was changed because of it. That run takes the doubt away; to wait no longer trigger it.",
        "dags/cht_reconcile", alert="doubt",
    ),
    Kind.OLDER_REVISION: Sentence("older_revision", link="dags/cht_sync", alert="older_revision"),
    Kind.PROOF: Sentence(
        "proof", "Trigger cht_reconcile; it repairs what differs and names what it cannot.", "dags/cht_reconcile",
        alert="proof",
    ),
    Kind.QUARANTINE: Sentence(
        "quarantine", "Look at the reasons; once they are fixed, trigger cht_sync with retry_quarantine.",
        "dags/cht_sync", alert="quarantine",
    ),
    Kind.SHRUNK: Sentence(
        "shrunk", "Find out why; if it is right, trigger a run with lift_guard.", "dags/{models}", alert="guard"
    ),
    Kind.HELD: Sentence(
        "held", "Fix the failing model, or trigger a run with lift_guard.", "dags/{models}", alert="guard"
    ),
    Kind.MODELS: Sentence(
        "models", "The message below, and the log of the model's task, say why.", "dags/{models}", alert="models"
    ),
    Kind.MODELS_BEHIND: Sentence(
        "models_behind", "See whether the models run, and how long they take.", "dags/{models}", alert="freshness"
    ),
    Kind.MODELS_LOADING: Sentence("models_loading", link="dags/{models}"),
    # Nothing fails, and only the owner of the models can say whether the table is still wanted: nobody is woken.
    Kind.REMOVED: Sentence("removed", link="dags/cht_pipeline_deploy"),
    Kind.TASK: Sentence("task", alert="task"),
    Kind.DEPLOYMENT: Sentence("task", alert="deployment"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alert:
    """What is the same in all messages of one name.

    :param title: what happened, a few words.
    :param todo: what to do; ``{models}`` is the DAG that runs the models.
    :param link: path of Airflow's UI, with the same and ``{subject}``; what follows a ``#`` is for one subject alone.
    """

    title: str
    todo: str
    link: str = "/dags/cht_sync"


ALERTS = {
    "source": Alert(
        "A source is not copied",
        "Where no reason is told here, the newest log of the task sync says what is wrong."
        " Nothing is lost; the copy goes on where it stopped.",
        "/dags/cht_sync/tasks/sync",
    ),
    "behind": Alert(
        "A source is behind CouchDB",
        "Nothing is lost, but rows are older than they should be. Where each run ends with the rest pending, let it"
        " read longer (CHT_SYNC_TIME_BUDGET) or run more often (CHT_SYNC_SCHEDULE); its log tells how fast it reads.",
        "/dags/cht_sync/tasks/sync",
    ),
    "freshness": Alert(
        "The models are behind",
        "Look whether runs of {models} fail, take long or are paused: couchdb_model_run tells how far they came.",
        "/dags/{models}",
    ),
    "quarantine": Alert(
        "Documents are in quarantine",
        "See the reasons on the status page or in couchdb_quarantine. Nothing else waits for them; a later revision"
        " that can be stored takes its document out.",
        "/cht-sync/#list=quarantine&source={subject}",
    ),
    "models": Alert(
        "Models fail",
        "Open the newest run: the log of the model's task holds dbt's message. The copy goes on, readers keep the last"
        " good state, and the next run tries the model first.",
        "/dags/{models}",
    ),
    "guard": Alert(
        "The guard against shrinking is closed",
        "Find out why the model failed or lost rows. Once that is mended it opens by itself; if the rows are right as"
        " they are, trigger {models} with lift_guard.",
        "/dags/{models}",
    ),
    "proof": Alert(
        "The copy is not equal to CouchDB",
        "Open the newest run of cht_reconcile: couchdb_reconciliation has the verdict and the reason of each part."
        " Trigger it with full_proof once the reason is mended.",
        "/dags/cht_reconcile",
    ),
    "deployment": Alert(
        "A new version of the dbt project cannot be deployed",
        "The log of the failed task holds dbt's message. The version in use stays, and the next run tries again.",
        "/dags/cht_pipeline_deploy",
    ),
    "collision": Alert(
        "Documents cannot reach the models, as their ids belong to a source that is not configured any more",
        "If it is the same server under a new name, run `python -m cht_sync rename-source <old> <new>`, or keep the old"
        " name by 'instance' in the extra of its connection.",
        "/cht-sync/",
    ),
    "doubt": Alert(
        "A source is in doubt",
        "The copy may not be complete until all documents are compared, which no run of cht_reconcile has done to the"
        " end since. See whether it is paused or fails, and trigger it. Nothing was changed because of the doubt.",
        "/dags/cht_reconcile",
    ),
    "older_revision": Alert(
        "CouchDB shows older revisions than are stored, or none",
        "After a restored backup trigger cht_sync with the source in accept_older: rows go back to what CouchDB shows."
        " Else they do so by themselves once CouchDB has kept to it for CHT_OLDER_AFTER minutes, or stay if a copy of a"
        " CouchDB cluster only lagged.",
        "/cht-sync/",
    ),
    "task": Alert("A task fails", "Follow what the text says; the next run tries again.", "/cht-sync/"),
    "unknown": Alert(
        "Part of the state cannot be read",
        "End or wait for the session that is named, or grant the right. What it hides is not told until then.",
        "/cht-sync/",
    ),
    "settings": Alert("The settings cannot be used", "Correct the setting that the text names."),
    "postgres": Alert(
        "PostgreSQL does not answer",
        "Until it answers nothing is copied and nothing is lost: the runs go on by themselves once it is back.",
    ),
    "first_load": Alert("A first load has ended", "Nothing: the changes feed is followed from now on."),
}


def of_gone_owner(each: GoneOwner) -> tuple[str, str]:
    """What is the case, and the remedy; the new name is known where the database has the same.

    :param each: documents and who has their rows.
    """
    number = counted(each.documents, "document", "documents", MOST)
    rows = "its row belongs" if each.documents == 1 else "their rows belong"
    new = each.source if each.is_namesake else "<its new name>"
    return (
        f"{number} of {each.source} cannot reach the models: {rows} to {each.owner}, which is not configured any more.",
        f"If {each.owner} is the same server under a new name, run `python -m cht_sync rename-source {each.owner}"
        f" {new}`, or keep the old name by 'instance' in the extra of its connection.",
    )


def of_older_revisions(each: OlderRevisions) -> tuple[str, str]:
    """What is the case, and the remedy.

    :param each: documents of one source.
    """
    number = counted(each.documents, "document", "documents", MOST)
    keep = "The row stays" if each.documents == 1 else "The rows stay"
    return (
        f"CouchDB shows an older revision than PostgreSQL holds of {number} of {each.source}, or none. {keep} as stored"
        " until further looks agree.",
        f"After a restored backup trigger cht_sync with accept_older={json.dumps([each.source])}: they go back to what"
        " CouchDB shows. Else they do so by themselves once CouchDB has kept to it for CHT_OLDER_AFTER minutes, or stay"
        " if a copy of a CouchDB cluster only lagged.",
    )


def of_removed(each: RemovedModel) -> tuple[str, str]:
    """What is the case, and the remedy.

    :param each: a table or view that is left.
    """
    return (
        f"{each.relation} is of no model any more: it stays as it was, and nothing updates it.",
        "Take it out of dashboards, then trigger cht_pipeline_deploy with"
        f" drop_removed={json.dumps([each.relation])}; or put the model back, and into DBT_SELECTOR.",
    )


def of_alert(findings: Sequence[Finding]) -> str:
    """What an alert says is the case, and in a second line why; never content or ids of documents.

    :param findings: of one subject that are told by one name.
    """
    kind, about = findings[0].kind, findings[0].about
    if kind in {Kind.SHRUNK, Kind.HELD, Kind.MODELS}:
        names = ", ".join(sorted(model.name for each in findings for model in each.about))
        said = "In" if kind is Kind.MODELS else "Held back or shrunk in"
        return f"{said} schema {findings[0].subject}: {names}."
    return _SAID[kind](findings[0].subject, about)


def same_cause(message: str, source: str) -> str:
    """What messages about several sources have in common where their cause is one.

    Databases of one server fail with the same sentence but for their own name, and for numbers such as a time.

    :param message: about the source.
    :param source: its name, ``<host>/<database>``.
    """
    database = source.rpartition("/")[2]
    without = message.replace(source, "…")
    without = re.sub(rf"(?<![\w-]){re.escape(database)}(?![\w-])", "…", without) if database else without
    return re.sub(r"\d+([.,:]\d+)*", "#", without)


def _why(error: TaskError | None) -> str:
    """What the task said itself, as a line of its own."""
    if error is None:
        return ""
    tries = counted(error.tries, "try", "tries", error.tries)
    return f"\n{error.message} Retrying since {moment(error.first_at)}, {tries} failed."


def _not_read(name: str, source: Any) -> str:
    said = "was last read with success at that time" if source.looked_at else "was never read to a good end"
    return f"{name} {said}.{_why(source.error)}"


def _behind(name: str, source: Any) -> str:
    pending = "an unknown number of" if source.pending is None else f"{source.pending:,}"
    return (
        f"{name} was read to its end at that time; when it was last read {pending} changes were waiting."
        f"{_why(source.error)}"
    )


def _models_behind(name: str, group: Any) -> str:
    if group.succeeded_at is None:
        return f"The models of {name} have never run to a good end; documents wait for them since then."
    return f"Documents wait for the models of {name} since then."


def _quarantined(name: str, about: Any) -> str:
    source, held = about
    number = held.number if held else source.quarantined
    return f"{counted(number, 'document', 'documents', number)} of {name} could not be stored."


def _proof(name: str, source: Any) -> str:
    return f"The proof {source.proof.run} of {name} says: {source.proof.verdict}."


_SAID = {
    Kind.PART: lambda _name, part: part.text,
    Kind.SOURCE: _not_read,
    Kind.RETRYING: _not_read,
    Kind.MISSED: _not_read,
    Kind.UNREAD: _not_read,
    Kind.BEHIND: _behind,
    Kind.LOADED: lambda name, load: (
        f"{name}: {load.documents:,} documents since {moment(load.began)}, proven to the end."
    ),
    Kind.GONE_OWNER: lambda _name, each: "\n".join(of_gone_owner(each)),
    Kind.DOUBT: lambda _name, source: source.doubt.text,
    Kind.OLDER_REVISION: lambda _name, source: of_older_revisions(source.older_revisions)[0],
    Kind.PROOF: _proof,
    Kind.QUARANTINE: _quarantined,
    Kind.MODELS_BEHIND: _models_behind,
    Kind.TASK: lambda _name, error: f"Task {error.name} of {error.dag_id} fails.{_why(error)}",
    Kind.DEPLOYMENT: lambda _name, error: f"The task {error.name} of {error.dag_id} failed.{_why(error)}",
}
