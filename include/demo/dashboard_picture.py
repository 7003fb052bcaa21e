"""Takes the picture of the dashboard in docs/how-to-superset.md, from the Superset that the settings name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from cht_sync.dashboards.settings import Login, SupersetSettings
from include.demo.airflow import REPOSITORY
from include.demo.errors import DemoError
from include.demo.screenshot import OPTIONS, chromium

SLUG = "cht-programme"
WIDTH = 1500
# Milliseconds: the first answers of a Superset that has just started take long.
PATIENCE = 180_000


def sign_in(page: Page, login: Login) -> None:
    """Fills in the form that Superset's pages are behind.

    :param page: of a browser.
    :param login: address and user.
    """
    page.goto(f"{login.url}/login/", timeout=PATIENCE)
    page.locator("input#username, input[name=username]").first.fill(login.user, timeout=PATIENCE)
    page.locator("input#password, input[name=password]").first.fill(login.password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url, timeout=PATIENCE)


def dashboard(page: Page, login: Login, target: Path) -> None:
    """Takes a picture of the whole dashboard, when each chart has its data.

    :param page: signed in.
    :param login: address and user.
    :param target: the PNG file to write.
    :raises DemoError: if a chart shows an error.
    """
    page.goto(f"{login.url}/superset/dashboard/{SLUG}/?standalone=1", timeout=PATIENCE)
    page.locator("[data-test=grid-content], .grid-content").first.wait_for(timeout=PATIENCE)
    # Charts are drawn when they come into view: the window is as high as the page.
    height = page.evaluate("Math.max(...[...document.querySelectorAll('*')].map(each => each.scrollHeight))")
    page.set_viewport_size({"width": WIDTH, "height": int(height)})
    page.wait_for_timeout(3000)
    page.wait_for_function("!document.querySelector('.loading, [data-test=loading-indicator]')", timeout=PATIENCE)
    page.wait_for_timeout(2000)
    failed = page.locator(".chart-container .ant-alert-error, [data-test=chart-error]").count()
    page.screenshot(path=target)
    if failed:
        raise DemoError(f"{failed} charts of the dashboard show an error: see {target}.")


def main() -> int:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "superset.png")
    options = parser.parse_args()
    login = SupersetSettings().login
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
            page = browser.new_page(viewport={"width": WIDTH, "height": 1600}, color_scheme="light")
            sign_in(page, login)
            dashboard(page, login, options.out)
            browser.close()
    except DemoError as error:
        print(f"No picture: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
