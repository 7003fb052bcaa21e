"""What the status page says of each kind of finding: what is the case, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cht_sync.common.text import counted, listed
from cht_sync.monitoring.finding import Kind
from cht_sync.monitoring.state import MOST, FormError, FormNotices, GoneOwner, OlderRevisions, RemovedModel

# Those that are there whatever the settings say; others are named in the README.
UNPAUSE = "Unpause cht_sync, and cht_pipeline_deploy, cht_reconcile and cht_data_tests, which are paused at first too."


# Of one deployment in one text; the table form_notice has them all.
_NOTICES = 10


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is the same in all findings of a kind.

    :param shown: what the page calls the kind; empty where the page does not show it.
    :param remedy: what to do, on the page; ``{models}`` is the DAG that runs the models.
    :param link: page of Airflow's UI, relative to its root, with the same.
    :param text: what is the case, where that needs no numbers.
    :param alert: what alerts call it, and the table of incidents; empty where no alert is sent.
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
        "dag", "Check the import errors on Airflow's home page, and whether the DAG processor runs.", "dags",
        "Airflow does not know the DAG cht_sync.",
    ),
    Kind.PAUSED: Sentence("paused", UNPAUSE, "dags/cht_sync", "The DAG cht_sync is paused."),
    # Airflow's database alone knows of it, which the task that sends alerts cannot ask.
    Kind.PAUSED_DAG: Sentence("paused_dag", link="dags"),
    Kind.SCHEDULER: Sentence(
        "scheduler", "Start `airflow scheduler` again; its log says why it ended.",
        text="Airflow's scheduler sends no heartbeat: no run starts, so nothing is copied.",
    ),
    Kind.TRIGGERER: Sentence(
        "triggerer", "Start `airflow triggerer`, with the settings and connections of the workers.",
        text="Airflow's triggerer sends no heartbeat, and triggers wait for it: in event mode no change in CouchDB"
        " starts a run.",
    ),
    Kind.DUE: Sentence(
        "due", "Check whether the scheduler runs.", "dags/cht_sync", "A run of cht_sync is due and has not started."
    ),
    Kind.SETTINGS: Sentence(
        "settings", "Its log names the setting and the remedy.",
        text="Nothing is copied, as the settings cannot be used: task sources failed.", alert="settings",
    ),
    Kind.RUN: Sentence("run", "The log says why; the next run continues with what is left."),
    Kind.SOURCE: Sentence("source", "The next run continues where this one stopped.", "dags/cht_sync", alert="source"),
    Kind.RETRYING: Sentence(
        "retrying", "Nothing is lost. Airflow retries it.", "dags/cht_sync", alert="source"
    ),
    Kind.MISSED: Sentence(
        "behind", "Check whether cht_sync runs, and what the log of its task says.", "dags/cht_sync",
        alert="source",
    ),
    Kind.BEHIND: Sentence(
        "behind", "Check whether cht_sync runs, and what the log of its task says.", "dags/cht_sync",
        alert="behind",
    ),
    Kind.UNREAD: Sentence("unread", "The next run of cht_sync reads {it}.", "dags/cht_sync", alert="source"),
    Kind.LOADING: Sentence("loading", link="dags/cht_sync"),
    Kind.LOADED: Sentence("", alert="first_load"),
    Kind.GONE_OWNER: Sentence("gone_owner", alert="collision"),
    Kind.DOUBT: Sentence(
        "doubt", "No row was changed because of it. To verify the copy now, trigger cht_reconcile.",
        "dags/cht_reconcile", alert="doubt",
    ),
    Kind.OLDER_REVISION: Sentence("older_revision", link="dags/cht_sync", alert="older_revision"),
    Kind.PROOF: Sentence(
        "proof", "Trigger cht_reconcile: it repairs what differs, and names what it cannot repair.",
        "dags/cht_reconcile", alert="proof",
    ),
    Kind.RECONCILIATION_OVERDUE: Sentence(
        "reconciliation_overdue",
        "Check whether cht_reconcile is paused, fails or still runs; to compare now, trigger it.",
        "dags/cht_reconcile", alert="reconciliation_overdue",
    ),
    Kind.QUARANTINE: Sentence(
        "quarantine", "Check the reasons; once they are fixed, trigger cht_sync with retry_quarantine.",
        "dags/cht_sync", alert="quarantine",
    ),
    Kind.SHRUNK: Sentence(
        "shrunk", "Find out why. If the rows are right, trigger a run with lift_guard (Allow row loss).",
        "dags/{models}", alert="guard",
    ),
    Kind.HELD: Sentence(
        "held", "Fix the failing model, or trigger a run with lift_guard (Allow row loss).", "dags/{models}",
        alert="guard",
    ),
    Kind.MODELS: Sentence(
        "models", "The message below, and the log of the model's task, say why.", "dags/{models}", alert="models"
    ),
    Kind.MODELS_BEHIND: Sentence(
        "models_behind", "Check whether the models run, and how long they take.", "dags/{models}", alert="freshness"
    ),
    Kind.MODELS_LOADING: Sentence("models_loading", link="dags/{models}"),
    # Nothing fails, and only the owner of the models can say whether the table is still wanted: no alert.
    Kind.REMOVED: Sentence("removed", link="dags/cht_pipeline_deploy"),
    # Its table stays as it was, and whoever has uploaded the form has seen what the app makes of it: no alert.
    Kind.FORM: Sentence(
        "form", "Upload it again, as by cht-conf. Reports are copied all the same, and the tables of the form stay.",
    ),
    Kind.FORM_NOTICE: Sentence("form_notice", link="dags/cht_pipeline_deploy", alert="forms"),
    Kind.TASK: Sentence("task", alert="task"),
    Kind.DEPLOYMENT: Sentence("task", alert="deployment"),
}  # fmt: skip


def of_gone_owner(each: GoneOwner) -> tuple[str, str]:
    """What is the case, and the remedy; the new name is known where the database has the same name."""
    number = counted(each.documents, "document", "documents", MOST)
    rows = "its row belongs" if each.documents == 1 else "their rows belong"
    new = each.source if each.is_namesake else "<its new name>"
    return (
        f"{number} of {each.source} cannot reach the models: {rows} to {each.owner}, which is no longer configured.",
        f"If {each.owner} is the same server under a new name, run `python -m cht_sync rename-source {each.owner}"
        f" {new}`, or keep the old name by 'instance' in the extra of its connection.",
    )


def of_older_revisions(each: OlderRevisions) -> tuple[str, str]:
    """What is the case, and the remedy."""
    number = counted(each.documents, "document", "documents", MOST)
    keep = "The row stays" if each.documents == 1 else "The rows stay"
    return (
        f"CouchDB shows an older revision than PostgreSQL holds of {number} of {each.source}, or none. {keep} as stored"
        " until CouchDB has answered the same again.",
        f"After a restored backup trigger cht_sync with accept_older={json.dumps([each.source])}: they are set"
        " to what CouchDB shows. Otherwise that happens without you once CouchDB has shown it for CHT_OLDER_AFTER"
        " minutes, or the rows stay if a node of a CouchDB cluster was only lagging.",
    )


def of_removed(each: RemovedModel) -> tuple[str, str]:
    """What is the case, and the remedy."""
    return (
        f"{each.relation} belongs to no model any more: it stays as it was, and nothing updates it.",
        "Remove it from dashboards, then trigger cht_pipeline_deploy with"
        f" drop_removed={json.dumps([each.relation])}; or put the model back, and into DBT_SELECTOR.",
    )


def of_forms(errors: Sequence[FormError]) -> str:
    """What is the case of forms of one source that cannot be read for one reason."""
    first = errors[0]
    if not first.code:
        return f"The SMS forms in the app settings of {first.source} cannot be read: {first.text}."
    forms, xforms = ("Form", "its XForm") if len(errors) == 1 else ("Forms", "their XForms")
    return f"{forms} {listed([each.code for each in errors])} of {first.source}: {xforms} cannot be read: {first.text}."


def of_form_notices(each: FormNotices) -> str:
    """What one deployment has changed in the tables of forms."""
    shown, more = each.notices[:_NOTICES], len(each.notices) - _NOTICES
    text = " ".join(f"{notice[:1].upper()}{notice[1:]}." for notice in shown)
    return f"{text} And {counted(more, 'further form', 'further forms', MOST)}." if more > 0 else text


def same_cause(message: str, source: str) -> str:
    """What messages about several sources have in common where their cause is one.

    Databases of one server fail with the same sentence but for their own name, and for numbers such as a time.

    :param source: its name, ``<host>/<database>``.
    """
    database = source.rpartition("/")[2]
    without = message.replace(source, "…")
    without = re.sub(rf"(?<![\w-]){re.escape(database)}(?![\w-])", "…", without) if database else without
    return re.sub(r"\d+([.,:]\d+)*", "#", without)
