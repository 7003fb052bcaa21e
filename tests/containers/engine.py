"""A container engine for the tests alone: Debian's packages, unpacked into a folder and never installed.

Its images, volumes, networks and sockets are its own, and go with it. It changes no firewall: containers reach each other
and, by published ports, this machine, and have no way out, so that a build uses the network of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The engine of Debian 12, which starts on old kernels too; a Compose that knows the file only Debian 13 has.
PACKAGES = {
    "bookworm": [
        "docker.io", "containerd", "runc", "tini", "mmdebstrap", "iptables", "libip4tc2", "libip6tc2", "libxtables12",
        "libnetfilter-conntrack3", "libnfnetlink0", "libnftnl11", "libnftables1",
    ],
    "trixie": ["docker-compose", "docker-buildx", "docker-cli"],
}  # fmt: skip
SOURCES = """\
Types: deb
URIs: {mirror}
Suites: {suite}
Components: main
Signed-By: {keyring}
"""
MIRROR = "http://deb.debian.org/debian"
# What a container knows as itself, 127.0.0.11, asks the engine for names by rules of its own network.
IPTABLES = """\
#!/bin/sh
export LD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={libraries}/xtables
exec {programs}/{name}-nft "$@"
"""
PATIENCE_S = 60.0
BRIDGE, NETWORK = "cht-containers0", "172.31.251.1/24"


def why_not() -> str:
    """Why no engine can be had on this machine, as one sentence; empty where one can."""
    if os.geteuid() != 0:
        return "no container engine can be had here: it takes root"
    if not (shutil.which("apt-get") and shutil.which("ip") and KEYRING.exists()):
        return "no container engine can be had here: it takes apt-get, ip (iproute2) and the keys of Debian's archive"
    return ""


class Engine:
    """``dockerd`` with everything it keeps in one folder.

    :param folder: holds programs, images and volumes; what an earlier call has left there is used again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = folder / "root"
        self.environ = {
            "PATH": f"{folder / 'bin'}:{root / 'usr/bin'}:{root / 'usr/sbin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "DOCKER_CONFIG": str(folder / "config"),
            "DOCKER_HOST": f"unix://{folder / 'docker.sock'}",
            "DOCKER_BUILDKIT": "1",
        }
        self._process: subprocess.Popen | None = None

    def start(self) -> Engine:
        """Fetches the programs where they are missing, and starts the engine."""
        if not (self.folder / "root").is_dir():
            self._fetch()
        options = {
            "iptables": "false", "ip6tables": "false", "ip-masq": "false", "ip-forward": "false",
            "bridge": BRIDGE, "storage-driver": "overlay2",
            "data-root": self.folder / "data", "exec-root": self.folder / "exec",
            "pidfile": self.folder / "dockerd.pid", "host": self.environ["DOCKER_HOST"],
        }  # fmt: skip
        # Of its own, so that no other engine's is taken. It is this machine's address for containers.
        for command in (["link", "add", BRIDGE, "type", "bridge"], ["addr", "add", NETWORK, "dev", BRIDGE]):
            subprocess.run(["ip", *command], check=False, capture_output=True)  # left by a run that was killed
        subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
        with (self.folder / "dockerd.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["dockerd", *(f"--{name}={value}" for name, value in options.items())],
                env=os.environ | self.environ, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(["docker", "version"], env=self.environ, capture_output=True, check=False).returncode:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.5)
        return self

    def stop(self) -> None:
        """Ends the engine with its containers; does nothing where it does not run."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.folder}/"):
                subprocess.run(["umount", line.split()[1]], check=False)

    def log(self) -> str:
        """The end of what the engine has written."""
        return (self.folder / "dockerd.log").read_text("utf-8", "replace")[-4000:]

    def base(self, *packages: str) -> Path:
        """An archive with a Debian 13 that holds these packages.

        :param packages: names in Debian.
        """
        file = self.folder / "base.tar"
        if not file.exists():
            new = file.with_suffix(".new")
            subprocess.run(
                [
                    "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}", "--format=tar",
                    "--quiet", '--aptopt=Acquire::Languages "none"',
                    "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/man/*", "trixie", str(new), str(self._sources("trixie")),
                ],
                env=os.environ | self.environ, check=True, capture_output=True,
            )  # fmt: skip
            new.rename(file)
        return file

    def _sources(self, suite: str) -> Path:
        file = self.folder / f"{suite}.sources"
        file.write_text(SOURCES.format(mirror=MIRROR, suite=suite, keyring=KEYRING))
        return file

    def _fetch(self) -> None:
        root, fetched = self.folder / "unpacking", self.folder / "packages"
        for suite, names in PACKAGES.items():
            state = self.folder / f"apt-{suite}"
            for folder in (state / "lists/partial", state / "cache/archives/partial", fetched / suite):
                folder.mkdir(parents=True, exist_ok=True)
            options = {
                "Dir::Etc::SourceList": self._sources(suite), "Dir::Etc::SourceParts": "-",
                "Dir::State::Lists": state / "lists", "Dir::State::Status": "/dev/null", "Dir::Cache": state / "cache",
                "APT::Sandbox::User": "root",
            }  # fmt: skip
            apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
            subprocess.run([*apt, "update"], check=True, capture_output=True)
            subprocess.run([*apt, "download", *names], cwd=fetched / suite, check=True, capture_output=True)
            for package in sorted((fetched / suite).glob("*.deb")):
                subprocess.run(["dpkg", "-x", package, root], check=True)
        shutil.rmtree(fetched)
        (plugins := self.folder / "config/cli-plugins").mkdir(parents=True, exist_ok=True)
        for plugin in (root / "usr/libexec/docker/cli-plugins").iterdir():
            (plugins / plugin.name).symlink_to(self.folder / "root" / plugin.relative_to(root))
        (programs := self.folder / "bin").mkdir(exist_ok=True)
        (libraries,) = {file.parent.relative_to(root) for file in root.glob("usr/lib/*/libxtables.so.*")}
        for name in ("iptables", "ip6tables"):
            at = self.folder / "root"
            script = IPTABLES.format(libraries=at / libraries, programs=at / "usr/sbin", name=name)
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        root.rename(self.folder / "root")
