"""Takes the pictures of the README from a running demo, in headless Chromium."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from include.demo.airflow import REPOSITORY, USER
from include.demo.errors import DemoError
from include.demo.remembered import HOST

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# It must not look for updates: where there is no way out, such requests only fill the log.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def chromium() -> str:
    """The browser on this machine.

    :raises DemoError: if there is none.
    """
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise DemoError("Chromium is missing: install it, for example with apt-get install chromium.")
    return found


def sign_in(browser: Browser, folder: Path, dark: bool = False) -> tuple[Page, str]:
    """A page that is signed in to the UI of a running demo.

    :param browser: the browser.
    :param folder: of the demo's Airflow.
    :param dark: whether the page is to be dark.
    :return: the page and the address of the UI.
    """
    url = f"http://{HOST}:{(folder / 'port').read_text().strip()}"
    password = json.loads((folder / "passwords.json").read_text())[USER]
    page = browser.new_page(
        viewport={"width": 1500, "height": 900}, color_scheme="dark" if dark else "light", device_scale_factor=1
    )
    token = page.request.post(f"{url}/auth/token", data={"username": USER, "password": password}).json()
    page.context.add_cookies([{"name": "_token", "value": token["access_token"], "url": url}])
    return page, url


def graph(page: Page, url: str, dag_id: str, target: Path) -> None:
    """Takes a picture of the graph of a DAG's latest run, with the models unfolded.

    :param page: signed in.
    :param url: of the UI.
    :param dag_id: the DAG.
    :param target: the PNG file to write.
    """
    page.goto(f"{url}/dags/{dag_id}/runs/{_run_with_models(page, f'{url}/api/v2/dags/{dag_id}/dagRuns')}")
    page.wait_for_load_state("networkidle")
    page.locator("button[value=graph]").click()
    # The panels' widths and the unfolded groups are remembered by the browser, once it has read the groups.
    page.wait_for_function("dag => (localStorage.getItem(`${dag}/all-groups`) ?? '[]') !== '[]'", arg=dag_id)
    page.evaluate(
        """dag => {
            const layout = {"details-panel,main-panel": {expandToSizes: {}, layout: [97, 3]}};
            for (const side of ["ltr", "rtl"])
                localStorage.setItem(`react-resizable-panels:graph-${side}`, JSON.stringify(layout));
            localStorage.setItem(`${dag}/open-groups`, localStorage.getItem(`${dag}/all-groups`));
        }""",
        dag_id,
    )
    page.reload()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(4000)
    page.screenshot(path=target)


def _run_with_models(page: Page, api: str) -> str:
    """The newest run in which dbt had something to do."""
    runs = page.request.get(f"{api}?limit=100&order_by=-start_date").json()["dag_runs"]
    for run in runs:
        tasks = page.request.get(f"{api}/{run['dag_run_id']}/taskInstances?limit=100").json()["task_instances"]
        if any(task["task_id"] == "models.dbt_run" and task["state"] == "success" for task in tasks):
            return str(run["dag_run_id"])
    raise DemoError("No run of the models has succeeded yet.")


def main() -> int:
    """Writes the pictures of the demo that runs in ``.demo/``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".demo" / "airflow")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "graph.png")
    options = parser.parse_args()
    options.out.parent.mkdir(exist_ok=True)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
            page, url = sign_in(browser, options.folder)
            graph(page, url, "cht_sync", options.out)
            browser.close()
    except (DemoError, FileNotFoundError) as error:
        print(f"No picture: {error} (is `make demo` running?)", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
