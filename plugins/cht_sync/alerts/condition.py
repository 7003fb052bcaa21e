"""Something that people should know of, as it is now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

NEWS = "first_load"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is the same in all conditions of a kind.

    :param title: what happened, a few words.
    :param todo: what to do; ``{models}`` is the DAG that runs the models.
    :param link: path of Airflow's UI, with the same and ``{subject}``; what follows a ``#`` is for one subject alone.
    """

    title: str
    todo: str
    link: str = "/dags/cht_sync"


KINDS = {
    "source": Kind(
        "A source is not copied",
        "Where no reason is told here, the newest log of the task sync says what is wrong."
        " Nothing is lost; the copy goes on where it stopped.",
        "/dags/cht_sync/tasks/sync",
    ),
    "behind": Kind(
        "A source is behind CouchDB",
        "Nothing is lost, but rows are older than they should be. Where each run ends with the rest pending, let it"
        " read longer (CHT_SYNC_TIME_BUDGET) or run more often (CHT_SYNC_SCHEDULE); its log tells how fast it reads.",
        "/dags/cht_sync/tasks/sync",
    ),
    "freshness": Kind(
        "The models are behind",
        "Look whether runs of {models} fail, take long or are paused: couchdb_model_run tells how far they came.",
        "/dags/{models}",
    ),
    "quarantine": Kind(
        "Documents are in quarantine",
        "See the reasons on the status page or in couchdb_quarantine. Nothing else waits for them; a later revision"
        " that can be stored takes its document out.",
        "/cht-sync/#list=quarantine&source={subject}",
    ),
    "models": Kind(
        "Models fail",
        "Open the newest run: the log of the model's task holds dbt's message. The copy goes on, readers keep the last"
        " good state, and the next run tries the model first.",
        "/dags/{models}",
    ),
    "guard": Kind(
        "The guard against shrinking is closed",
        "Find out why the model failed or lost rows. Once that is mended it opens by itself; if the rows are right as"
        " they are, trigger {models} with lift_guard.",
        "/dags/{models}",
    ),
    "proof": Kind(
        "The copy is not equal to CouchDB",
        "Open the newest run of cht_reconcile: couchdb_reconciliation has the verdict and the reason of each part."
        " Trigger it with full_proof once the reason is mended.",
        "/dags/cht_reconcile",
    ),
    "deployment": Kind(
        "A new version of the dbt project cannot be deployed",
        "The log of the failed task holds dbt's message. The version in use stays, and the next run tries again.",
        "/dags/cht_pipeline_deploy",
    ),
    "collision": Kind(
        "Documents cannot reach the models, as their ids belong to a source that is not configured any more",
        "If it is the same server under a new name, run `python -m cht_sync rename-source <old> <new>`, or keep the old"
        " name by 'instance' in the extra of its connection.",
        "/cht-sync/",
    ),
    "doubt": Kind(
        "A source is in doubt",
        "The copy may not be complete until all documents are compared, which no run of cht_reconcile has done to the"
        " end since. See whether it is paused or fails, and trigger it. Nothing was changed because of the doubt.",
        "/dags/cht_reconcile",
    ),
    "older_revision": Kind(
        "CouchDB shows older revisions than are stored, or none",
        "After a restored backup trigger cht_sync with the source in accept_older: rows go back to what CouchDB shows."
        " Else they do so by themselves once CouchDB has kept to it for CHT_OLDER_AFTER minutes, or stay if a copy of a"
        " CouchDB cluster only lagged.",
        "/cht-sync/",
    ),
    "task": Kind("A task fails", "Follow what the text says; the next run tries again.", "/cht-sync/"),
    "unknown": Kind(
        "Part of the state cannot be read",
        "End or wait for the session that is named, or grant the right. What it hides is not told until then.",
        "/cht-sync/",
    ),
    "settings": Kind("The settings cannot be used", "Correct the setting that the text names."),
    "postgres": Kind(
        "PostgreSQL does not answer",
        "Until it answers nothing is copied and nothing is lost: the runs go on by themselves once it is back.",
    ),
    NEWS: Kind("A first load has ended", "Nothing: the changes feed is followed from now on."),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What is the case.

    :param kind: one of ``KINDS``.
    :param subject: what it is about, such as a source.
    :param text: what is affected, and in a second line why; never content or ids of documents.
    :param since: when it began.
    :param newest: when the newest of what it is made of came, where people are to be told of newer ones again.
    """

    kind: str
    subject: str
    text: str
    since: datetime | None = None
    newest: datetime | None = None
