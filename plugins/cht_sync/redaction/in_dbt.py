"""Takes values out of what dbt says where it begins, so that its logs, results and lineage never hold them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cht_sync.redaction.errors import of_error
from cht_sync.redaction.forms import CUT
from cht_sync.redaction.texts import of_text

# Events whose text is made of names of the project, numbers and states. Every other one, and each that dbt gets in
# future, is taken for one that may quote a value: what a macro logs or prints, statements, rows that are shown.
# Source: https://docs.getdbt.com/reference/events-logging, ``dbt/events/types.py``, ``dbt/adapters/events/types.py``
_VALUE_FREE = {
    "AdapterDeprecationWarning", "AdapterRegistered", "ArtifactWritten", "BehaviorChangeEvent", "BuildingCatalog",
    "CatalogWritten", "CheckNodeTestFailure", "CommandCompleted", "CompileComplete", "ConcurrencyLine",
    "ConnectionClosed", "ConnectionClosedInCleanup", "ConnectionLeftOpen", "ConnectionLeftOpenInCleanup",
    "ConnectionReused", "ConnectionUsed", "ConstraintNotEnforced", "ConstraintNotSupported", "DefaultSelector",
    "DeprecatedModel", "DeprecatedReference", "DeprecationsSummary", "DepsInstallInfo", "DepsListSubdirectory",
    "DepsNoPackagesFound", "DepsStartPackageInstall", "DepsUpToDate", "EndOfRunSummary", "EndRunResult",
    "EnvironmentVariableRenamed", "FinishedRunningStats", "Formatting", "FoundStats", "FreshnessConfigProblem",
    "GetMetaKeyWarning", "HooksRunning", "InvalidConcurrentBatchesConfig", "InvalidMacroAnnotation",
    "LogBatchResult", "LogCancelLine", "LogFreshnessResult", "LogFunctionResult", "LogHookEndLine",
    "LogHookStartLine", "LogModelResult", "LogNodeNoOpResult", "LogSeedResult", "LogSkipBecauseError",
    "LogSnapshotResult", "LogStartBatch", "LogStartLine", "LogTestResult", "MacroNotFoundForPatch",
    "MainKeyboardInterrupt", "MainReportVersion", "MicrobatchModelNoEventTimeInputs", "NewConnection",
    "NewConnectionOpening", "NoNodeForYamlKey", "NoNodesForSelectionCriteria", "NoNodesSelected", "NodeCompiling",
    "NodeExecuting", "NodeFinished", "NodeNotFoundOrDisabled", "NodeStart", "NothingToDo",
    "PackageNodeDependsOnRootProjectNode", "ParsePerfInfoPath", "PartialParsingEnabled",
    "PartialParsingNotEnabled", "PartialParsingSkipParsing", "QueryCancelationUnsupported", "ResourceReport",
    "Rollback", "RunResultErrorNoMessage", "RunResultFailure", "RunResultWarning", "SQLCommit", "SQLCompiledPath",
    "SQLQueryStatus", "SchemaCreation", "SchemaDrop", "SelectorReportInvalidSelector",
    "SemanticValidationFailure", "SkippingDetails", "StatsLine", "TimingInfoCollected", "UnableToPartialParse",
    "UnpinnedRefNewVersionAvailable", "UnsupportedConstraintMaterialization", "UnusedResourceConfigPath",
    "UnusedTables", "UnversionedBreakingChange", "WarnStateTargetEqual", "WritingInjectedSQLForNode",
    "WrongResourceSchemaFile",
}  # fmt: skip
_DONE = "_cht_sync_redacts"


def redact_dbt() -> None:
    """Has dbt in this process say nothing that may come from a document; called before dbt runs, as often as one likes.

    Messages of PostgreSQL are made again as they come from psycopg2, those of models that fail in other ways before
    they become results, and events before dbt's logs and callbacks see them.
    """
    from dbt.adapters.postgres.connections import PostgresConnectionManager
    from dbt.task import run
    from dbt.task.base import BaseRunner
    from dbt_common.events import event_manager

    if getattr(event_manager, _DONE, False):
        return
    for owner, name, redacting in (
        (PostgresConnectionManager, "exception_handler", _redacting),
        (BaseRunner, "handle_exception", _told),
        (run, "get_execution_status", _ended),
        (event_manager, "msg_from_base_event", _clean),
    ):
        setattr(owner, name, redacting(getattr(owner, name)))
    setattr(event_manager, _DONE, True)


def _redacting(original: Any) -> Any:
    import psycopg2

    @contextmanager
    def exception_handler(self: Any, sql: Any) -> Iterator[None]:
        with original(self, sql):
            try:
                yield
            except psycopg2.Error as error:
                # None: the cause would be printed with the traceback, DETAIL and CONTEXT included.
                raise type(error)(of_error(error, sql if isinstance(sql, str) else None)) from None

    return exception_handler


def _told(original: Any) -> Any:
    def handle_exception(self: Any, e: Exception, ctx: Any) -> str:
        return of_text(str(original(self, e, ctx)))

    return handle_exception


def _ended(original: Any) -> Any:
    def get_execution_status(*args: Any, **kwargs: Any) -> tuple[Any, str]:
        status, message = original(*args, **kwargs)
        return status, of_text(str(message))

    return get_execution_status


def _clean(original: Any) -> Any:
    def msg_from_base_event(event: Any, level: Any = None) -> Any:
        msg = original(event, level=level)
        name = msg.info.name
        if name not in _VALUE_FREE and not name.endswith("Deprecation"):
            # Nobody reads the thousands of lines of debugging; to look for what is known in each would take seconds.
            told = CUT if msg.info.level == "debug" else _lines(msg.info.msg)
            msg.info.msg = told
            _clear(msg.data, told)
        return msg

    return msg_from_base_event


def _lines(text: str) -> str:
    begin = text[: len(text) - len(text.lstrip())]
    return begin + of_text(text) if text.strip() else text


def _clear(data: Any, told: str) -> None:
    """Puts the text that is told in place of every text of an event."""
    for field in data.DESCRIPTOR.fields:
        if isinstance(value := getattr(data, field.name), str) and value:
            setattr(data, field.name, told)
