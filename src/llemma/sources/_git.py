"""Files of a git repository at one commit, read by git itself, from a checkout or a bare repository.

Reads objects only: it checks nothing out, fetches nothing, runs no filter of the repository.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from llemma.errors import DataError, NotHere, explain

_OFF = {  # nothing is asked, nothing is fetched, where a clone lacks an object
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_NOTHING = "0" * 40  # the name of no object
_REMOTE = re.compile(r"([^/:]+/[^/:]+?)(?:\.git)?/?$")


class Repository:
    """A repository at one commit. ``name`` is OWNER/NAME of its origin, or its folder's name."""

    def __init__(self, folder: Path, revision: str = "HEAD") -> None:
        """Raises NotHere without git or the folder, DataError for one that is no repository or lacks the revision."""
        if shutil.which("git") is None:
            raise NotHere("git is not installed (Debian: apt install git); a checkout can be read by options.folders")
        if not folder.is_dir():
            raise NotHere("no such folder", where=folder)
        self.folder = folder.resolve()
        self._open: subprocess.Popen[bytes] | None = None
        wanted = f"{revision}^{{commit}}"
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, fails=True)
        if found is None:
            here = self._git("rev-parse", "--git-dir", fails=True)
            problem = f"no commit {revision!r} in this repository" if here else "no git repository here"
            raise DataError(problem, where=folder)
        self.commit = found.strip()
        origin = self._git("config", "--get", "remote.origin.url", fails=True) or ""
        remote = _REMOTE.search(origin.strip())
        self.name = remote[1] if remote else self.folder.name.removesuffix(".git")

    def files(self) -> list[str]:
        """The paths of all files, sorted; links, submodules and names that are not UTF-8 are left out."""
        return sorted(self._listed)

    @functools.cached_property
    def _listed(self) -> dict[str, str]:
        """The object of every file by its path."""
        found = {}
        for line in filter(None, (self._git("ls-tree", "-r", "-z", "--full-tree", self.commit) or "").split("\0")):
            about, _, path = line.partition("\t")
            if about.startswith("100") and path.isprintable() and "\ufffd" not in path:
                found[path] = about.split()[2]
        return found

    @functools.cached_property
    def _present(self) -> frozenset[str] | None:
        """The objects that a partial clone has; None for a whole clone. Git before 2.44 fetches what is asked for."""
        partial = r"^(extensions\.partialclone|remote\..*\.promisor)$"
        if self._git("config", "--get-regexp", partial, fails=True) is None:
            return None
        return frozenset((self._git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)") or "").split())

    def _lacks(self, path: str) -> bool:
        return self._present is not None and self._listed.get(path) not in self._present

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        """The size of each file in bytes; None for one whose content this clone lacks."""
        asked = "".join(
            f"{self.commit}:{path}\n" if not self._lacks(path) else f"{_NOTHING}\n" for path in paths
        ).encode()
        command = self._command("cat-file", "--batch-check=%(objectsize)", "--buffer")
        done = subprocess.run(command, input=asked, capture_output=True, env=self._environment(), check=False)
        answers = done.stdout.decode("utf-8", "replace").split("\n")[:-1]
        if len(answers) != len(paths):
            raise DataError(f"git cat-file failed: {done.stderr.decode('utf-8', 'replace')[:200]}", where=self.folder)
        return [int(answer) if answer.isdigit() else None for answer in answers]

    def read(self, path: str) -> bytes | None:
        """The content of a file; None when this clone lacks it. Raises DataError when git ends."""
        if self._lacks(path):
            return None
        if self._open is None:
            command = self._command("cat-file", "--batch")
            self._open = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment(),
            )
        question, answer = _pipes(self._open)
        try:
            question.write(f"{self.commit}:{path}\n".encode())
            question.flush()
            about = answer.readline().decode("utf-8", "replace").split()
            if not about:
                raise DataError("git ended while files were read", where=self.folder)
            if about[-1] == "missing" or not about[-1].isdigit():
                return None
            content = answer.read(int(about[-1]) + 1)
        except OSError as error:
            raise DataError(explain(error), where=self.folder) from error
        return content[:-1] if len(about) == 3 and about[1] == "blob" else None

    def close(self) -> None:
        """End the process that reads."""
        if self._open is not None:
            for pipe in _pipes(self._open):
                pipe.close()
            self._open.wait()
            self._open = None

    def _command(self, *words: str) -> list[str]:
        return ["git", "-C", str(self.folder), *words]

    def _environment(self) -> dict[str, str]:
        """This process's, without what points git elsewhere; a repository above the folder does not count."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
        return {**kept, **_OFF, "GIT_CEILING_DIRECTORIES": str(self.folder.parent)}

    def _git(self, *words: str, fails: bool = False) -> str | None:
        done = subprocess.run(self._command(*words), capture_output=True, env=self._environment(), check=False)
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
        if b"dubious ownership" in done.stderr:
            raise DataError(
                f"belongs to another user; allow it: git config --global --add safe.directory {self.folder}"
            )
        if fails:
            return None
        raise DataError(f"git {words[0]} failed: {done.stderr.decode('utf-8', 'replace')[:200]}", where=self.folder)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def split(entry: str) -> tuple[Path, str]:
    """Folder and revision of ``FOLDER`` or ``FOLDER@REVISION``."""
    path, at, revision = entry.rpartition("@")
    if at and not Path(entry).expanduser().exists():
        return Path(path).expanduser(), revision
    return Path(entry).expanduser(), "HEAD"
