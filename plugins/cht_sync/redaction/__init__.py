"""The one judgement of what a message may show: nothing that may come from a document.

PostgreSQL and dbt quote values in their messages. Whatever is stored, shown, logged or sent goes through here first:

* :func:`of_error`: an error of psycopg2, by what PostgreSQL says beside the text: SQLSTATE, relation, column,
  constraint, function. The text itself is shown where it is known where its values are, and cut elsewhere.
* :func:`of_text`: what dbt has said. What is not known is cut.
* :func:`of_ours`: a sentence of this project that was made of such messages. Its own words stay.
* :func:`cleaned`: an exception with its causes, before anybody prints it.

:mod:`cht_sync.redaction.in_dbt` does the same inside of dbt, before dbt writes to its logs and results. Nothing here
needs Airflow: dbt's processes import it too. Secrets, which are in no document, :func:`without_secrets` takes out of
what other programs say.
"""

from cht_sync.redaction.errors import dependents_of, line_of, message_of, of_error
from cht_sync.redaction.exceptions import cleaned
from cht_sync.redaction.texts import of_ours, of_text, without_secrets

__all__ = ["cleaned", "dependents_of", "line_of", "message_of", "of_error", "of_ours", "of_text", "without_secrets"]
