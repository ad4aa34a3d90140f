# ruff: noqa: INP001  - a folder of scripts, not a package
"""Build the wheel and the sdist once, and try the *wheel*: what users install is what is looked at.

::

    python tools/try_wheel.py            clean environments, made by pip: bare, each extra; then tests against the wheel
    python tools/try_wheel.py --quick    the same questions without pip: links to what is installed here

Each environment holds the wheel and what its metadata asks for, and nothing of this tree. ``tools/wheel_probe.py`` asks
the questions inside. Arguments after ``--`` go to pytest: folders and files of tests, from the root of this tree, and
options; where no folder or file is named, it is those of ``SUITE``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

from check_wheel import main as check_contents
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROBE = ROOT / "tools" / "wheel_probe.py"
OURS = "evmbilling"
#: Extras for those who change this project, not for its users.
OF_THE_HOUSE = {"dev", "docs"}
#: What runs against the installed wheel when nothing else is chosen: what reads files of the package, and its rules.
SUITE = ("tests/domain", "tests/plugins", "tests/settings", "tests/notifiers", "tests/http", "tests/cli", "tests/pages")
#: How pytest ends when it was asked for what is not there, or when nothing was left of what was asked.
NOTHING_RAN = {4, 5}


def build(source: Path, folder: Path, *targets: str) -> list[Path]:
    """Build what is asked for (``wheel``, ``sdist``) from a source tree; return the files."""
    wanted = [word for target in targets for word in ("-t", target)]
    run(sys.executable, "-m", "hatchling", "build", "-d", str(folder), *wanted, cwd=source)
    return sorted(folder.iterdir())


def run(*command: str, cwd: Path | None = None, **variables: str) -> str:
    """Run a program of this project's environment; what it printed, or the end when it failed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BILLING_"))}
    done = subprocess.run(command, cwd=cwd, env=clean | variables, capture_output=True, text=True, check=False)  # noqa: S603  - our own programs
    if done.returncode:
        sys.exit(f"{' '.join(command)[:300]}\n{done.stdout}{done.stderr}")
    return done.stdout


def built_twice(folder: Path) -> Path:
    """Build wheel and sdist, build the wheel again from the sdist, and return it: the two must be the same bytes."""
    sdist, wheel = sorted(build(ROOT, folder / "dist", "sdist", "wheel"), key=lambda path: path.suffix != ".gz")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in the first releases of Python 3.11
        archive.extractall(folder / "unpacked")  # noqa: S202  - the sdist that we built
    (again,) = build(next((folder / "unpacked").iterdir()), folder / "again", "wheel")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, again)}
    if len(digests) != 1:
        sys.exit(f"the sdist builds another wheel: {_difference(wheel, again)}")
    print(f"{sdist.name} and {wheel.name}: the sdist builds the same wheel")
    if check_contents([str(wheel)]):
        sys.exit("the wheel does not hold what it must")
    return wheel


def _difference(one: Path, other: Path) -> str:
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        sums = [{(item.filename, item.CRC) for item in archive.infolist()} for archive in (first, second)]
    return ", ".join(sorted(name for name, _ in sums[0] ^ sums[1]))


class Wants:
    """What the metadata of a wheel asks for: by extra, with everything that comes along."""

    def __init__(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            lines = archive.read(name).decode().splitlines()
        self._asked = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
        named = [line.partition(": ")[2] for line in lines if line.startswith("Provides-Extra: ")]
        self.extras = [name for name in named if name not in OF_THE_HOUSE]

    def named(self, extra: str) -> set[str]:
        """The distributions that the metadata names for an extra, or for none (the empty word)."""
        found = set()
        for asked in self._asked:
            if asked.marker is not None and not asked.marker.evaluate({"extra": extra}):
                continue
            if asked.marker is None and extra:
                continue
            if asked.name == OURS:
                found |= {name for other in asked.extras for name in self.named(other)}
            else:
                found.add(canonicalize_name(asked.name))
        return found

    def installed(self, extra: str, known: Mapping[str, Distribution]) -> set[str]:
        """Every distribution that an installation with this extra brings, as these distributions' metadata has it.

        What is named and not known is left out.
        """
        found: set[str] = set()
        wanted = self.named("") | self.named(extra)
        todo = [asked for asked in self._asked if canonicalize_name(asked.name) in wanted]
        while todo:
            asked = todo.pop()
            name, places = canonicalize_name(asked.name), {"", *asked.extras}
            if name not in known or (name in found and not asked.extras):
                continue
            found.add(name)
            below = [Requirement(text) for text in known[name].requires or ()]
            todo += [
                each
                for each in below
                if each.marker is None or any(each.marker.evaluate({"extra": place}) for place in places)
            ]
        return found


def known_in(*folders: str) -> dict[str, Distribution]:
    """The distributions in some folders of packages, by name; the first of a name counts."""
    return {canonicalize_name(d.name): d for d in reversed(list(distributions(path=list(folders))))}


@cache
def _owners() -> Mapping[str, set[str]]:
    """The distributions that bring a module, by the module; read once, for it opens every list of installed files."""
    return {module: {canonicalize_name(dist) for dist in dists} for module, dists in packages_distributions().items()}


def modules_of(names: Iterable[str]) -> list[str]:
    """The modules that distributions bring."""
    wanted, owners = set(names), _owners()
    here = set().union(*owners.values())
    return sorted(
        {m for m, dists in owners.items() if wanted & dists} | {name.replace("-", "_") for name in wanted - here}
    )


def linked(folder: Path, wheel: Path, wanted: Iterable[Distribution]) -> Path:
    """Make an environment of links to these distributions of this one, and the unpacked wheel; return its Python."""
    python, packages = empty(folder)
    link(packages, wanted)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)  # noqa: S202  - the wheel that we built
    return python


def link(packages: Path, wanted: Iterable[Distribution]) -> None:
    """Fill a folder of packages with links to what these distributions installed."""
    for found in wanted:
        for first in {path.parts[0] for path in found.files or () if path.parts[0] not in {"..", "__pycache__"}}:
            _link(packages / first, Path(str(found.locate_file(first))))


def _link(place: Path, target: Path) -> None:
    """Link to a file or folder; a folder that several distributions have becomes one with links to what is in each."""
    if not place.is_symlink():
        if not place.is_dir():
            place.symlink_to(target)
            return
    elif place.resolve() == target.resolve():
        return
    else:
        earlier = place.readlink()
        place.unlink()
        place.mkdir()
        for child in earlier.iterdir():
            _link(place / child.name, child)
    for child in target.iterdir():
        _link(place / child.name, child)


def empty(folder: Path) -> tuple[Path, Path]:
    """Make an environment with nothing in it, not even pip; return its Python and its folder of packages."""
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    return python, packages_of(python)


def packages_of(python: Path) -> Path:
    """The folder of packages of an environment."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    return packages


def filled(folder: Path, wanted: str, *, over: Path | None = None) -> tuple[Path, set[str]]:
    """Make an environment and let pip install there; return its Python and what pip added.

    With ``over``, what that environment has is seen, and not installed again.
    """
    python, packages = empty(folder)
    if over is not None:
        (packages / "below.pth").write_text(f"{packages_of(over)}\n")
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile", wanted)
    return python, set(known_in(str(packages)))


def absent(wants: Wants, without: set[str]) -> dict[str, list[str]]:
    """The modules that are not there, by the extra that brings them; ``without`` are the distributions that are not."""
    missing = {extra: wants.named(extra) & without for extra in wants.extras}
    return {extra: modules_of(names) for extra, names in missing.items() if names}


def ask(python: Path, given: Mapping[str, object], folder: Path) -> None:
    """Ask the questions inside an environment, in an empty folder that is its home too."""
    standing: dict[str, object] = {"under": str(folder), "bare": False, "beside": {}}
    standing |= {"readme": str(ROOT / "README.md"), "lacking": str(folder / "lacking.json")}
    with tempfile.TemporaryDirectory(dir=folder) as home:
        said = run(str(python), "-W", "error", str(PROBE), json.dumps(standing | given), cwd=Path(home), HOME=home)
    print(said, end="", flush=True)


def quick(wheel: Path, wants: Wants, folder: Path) -> None:
    """A bare environment of links, and a folder of links for each extra; nothing is fetched."""
    known = known_in(*_site_packages())
    declared = {name for extra in wants.extras for name in wants.named(extra)}
    bare = wants.installed("", known)
    python = linked(folder / "bare", wheel, [known[name] for name in bare])
    beside = {}
    for extra in wants.extras:
        unknown = wants.named(extra) - set(known)
        if unknown:
            print(f"{extra} is left to the long form; not here: {', '.join(sorted(unknown))}")
            continue
        there = wants.installed(extra, known)
        packages = folder / extra
        packages.mkdir()
        link(packages, [known[name] for name in there - bare])
        beside[extra] = {"packages": str(packages), "absent": absent(wants, declared - there)}
    print("\nbare:", flush=True)
    ask(python, {"bare": True, "absent": absent(wants, declared - bare), "beside": beside}, folder)


def thorough(wheel: Path, wants: Wants, folder: Path, tests: list[str]) -> None:
    """Every environment by pip, and the tests against the wheel."""
    declared = {name for extra in wants.extras for name in wants.named(extra)}
    bare, there = filled(folder / "bare", str(wheel))
    print(f"\nbare: {len(there)} distributions", flush=True)
    ask(bare, {"bare": True, "absent": absent(wants, declared - there)}, folder)
    for extra in wants.extras:
        python, added = filled(folder / extra, f"{wheel}[{extra}]", over=bare)
        known = known_in(*(str(packages_of(each)) for each in (python, bare)))
        unasked = added - wants.installed(extra, known) - {OURS}
        if unasked:
            sys.exit(f"{extra} installs what it does not say: {', '.join(sorted(unasked))}")
        print(f"\n{extra}: adds {', '.join(sorted(added - {OURS})) or 'nothing'}", flush=True)
        ask(python, {"absent": absent(wants, declared - added - there)}, folder)
    suite(wheel, folder, tests)


def suite(wheel: Path, folder: Path, tests: list[str]) -> None:
    """Types as users see them, then the tests: the tools are this environment's, the package is the wheel's."""
    python, packages = empty(folder / "suite")
    (packages / "below.pth").write_text("\n".join(_site_packages()))  # its own .pth files, so src too, are not followed
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)  # noqa: S202
    print("\nthe wheel, as a type checker sees it:")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'mypy'}")
    print(run(*mypy, f"--python-executable={python}", str(ROOT / "tests" / "typing"), cwd=folder), end="", flush=True)
    where = run(str(python), "-c", "import evmbilling; print(evmbilling.__file__)", cwd=folder).strip()
    if not Path(where).is_relative_to(folder):
        sys.exit(f"the tests would run against {where}")
    print(f"\nthe tests, against {where}:", flush=True)
    command = [str(python), "-m", "pytest", "-q", "-n", "auto", *tests]
    ended = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
    if ended:
        sys.exit(judgement(ended, tests))


def chosen(words: Sequence[str]) -> list[str]:
    """What pytest is given: these words, with ``SUITE`` where they name no tests.

    Ends at once, before anything is built, when a path among them is not there.
    """
    places = [word for word in words if not word.startswith("-") and (ROOT / word.partition("::")[0]).exists()]
    gone = [word for word in words if not word.startswith("-") and "/" in word and word not in places]
    if gone:
        sys.exit(f"there is no {', '.join(gone)} in {ROOT}: name folders or files of tests from there, as tests/domain")
    return [*words] if places else [*words, *SUITE]


def judgement(ended: int, tests: Sequence[str]) -> str:
    """What it means that pytest ended with this status, which is not 0."""
    if ended in NOTHING_RAN:
        return f"no tests ran, so nothing is known of the wheel: what was chosen has none ({' '.join(tests)})"
    return "the tests fail against the wheel"


def _site_packages() -> Iterator[str]:
    return (path for path in sys.path if path.endswith("site-packages"))


def main(arguments: list[str]) -> None:
    """Build, and try."""
    tests = chosen([word for word in arguments if word not in {"--", "--quick"}])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        wheel = built_twice(folder)
        wants = Wants(wheel)
        if "--quick" in arguments:
            quick(wheel, wants, folder)
        else:
            thorough(wheel, wants, folder, tests)


if __name__ == "__main__":
    main(sys.argv[1:])
