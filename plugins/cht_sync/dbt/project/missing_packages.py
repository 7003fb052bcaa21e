"""Proves from dbt's manifest that nothing which can run needs a package that is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from cht_sync.dbt.project.manifest import Macro, Manifest, reachable

DBT_PACKAGES = {"dbt", "dbt_postgres"}
CALL = re.compile(r"""dispatch\s*\(\s*['"](\w+)|\b([A-Za-z_]\w*)\s*\(""")


def first_use(manifest: Manifest, packages: Iterable[str]) -> tuple[str, str] | None:
    """The name of the first node or hook that needs one of the packages, and of the package; else None.

    Searched are the text of each enabled node with its hooks, and of every macro that it may reach: those that dbt
    lists, those whose names it calls (dbt does not list what stands behind ``is_incremental()``), its materialization,
    and those that replace a macro of dbt itself. A name that is called where nothing runs counts too.
    """
    patterns = {name: re.compile(rf"\b{re.escape(name)}\s*\.|['\"]{re.escape(name)}['\"]") for name in packages}
    macros = _Macros(manifest["macros"])
    for node in manifest["nodes"].values():
        own = [node.get("raw_code") or "", json.dumps(node.get("config", {})).replace('\\"', '"')]
        listed = set(node["depends_on"].get("macros", ()))
        texts = [*own, *macros.reached(own, listed | macros.always(node.get("config", {}).get("materialized")))]
        for package, pattern in patterns.items():
            if any(pattern.search(text) for text in texts):
                return node["name"], package
    return None


class _Macros:
    def __init__(self, macros: dict[str, Macro]) -> None:
        self._macros = macros
        self._by_name: dict[str, set[str]] = {}
        for key, macro in macros.items():
            if macro["package_name"] not in DBT_PACKAGES:
                # adapter.dispatch('x') calls default__x or postgres__x.
                for name in {macro["name"], macro["name"].partition("__")[2] or macro["name"]}:
                    self._by_name.setdefault(name, set()).add(key)
        dbts = {macro["name"] for macro in macros.values() if macro["package_name"] in DBT_PACKAGES}
        self._replacing = {key for name in dbts & set(self._by_name) for key in self._by_name[name]}

    def always(self, materialized: str | None) -> set[str]:
        """Macros that run without being called: the materialization, and those in place of dbt's own."""
        start = f"materialization_{materialized}_"
        return self._replacing | {key for key, macro in self._macros.items() if macro["name"].startswith(start)}

    def reached(self, texts: list[str], keys: set[str]) -> list[str]:
        """The texts of macros that are reached from texts and keys of others."""

        def used(key: str) -> set[str]:
            macro = self._macros[key]
            found = self._called(macro["macro_sql"]).union(macro["depends_on"].get("macros", ()))
            return found & self._macros.keys()

        start = keys.union(*(self._called(text) for text in texts)) & self._macros.keys()
        return [self._macros[key]["macro_sql"] for key in reachable(start, used)]

    def _called(self, text: str) -> set[str]:
        return {key for match in CALL.finditer(text) for key in self._by_name.get(match[1] or match[2], ())}
