# ruff: noqa: INP001  - a folder of scripts, not a package
"""Compile the Solidity sources into the artefacts of the package, or prove that they are what is committed.

``python tools/compile_contracts.py`` writes ``src/evmbilling/contracts/artifacts/*.json``.
``python tools/compile_contracts.py --check`` compiles and compares byte for byte: exit 1 and a readable
difference when an artefact is stale, missing or left over.

Compiler and library come from npm at the exact versions and checksums of
``tools/contracts/package-lock.json``, into a cache folder; no third-party source is kept in this repository.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evmbilling.testing.tools import cache_dir

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src/evmbilling/contracts/solidity"
ARTIFACTS = ROOT / "src/evmbilling/contracts/artifacts"
TOOLCHAIN = ROOT / "tools/contracts"
LIBRARY = "@openzeppelin/contracts"

SETTINGS: dict[str, Any] = {
    # `paris` has neither PUSH0 nor MCOPY nor transient storage, so one bytecode serves every chain of today.
    "evmVersion": "paris",
    "optimizer": {"enabled": True, "runs": 10_000},
    # Without the metadata hash the bytecode depends on code alone, not on comments or names of files.
    "metadata": {"bytecodeHash": "none"},
}
OUTPUTS = [
    "abi",
    "metadata",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
]
DIFFERENCE_LINES = 40  # of one artefact, before the report is cut
IMPORT = re.compile(r"""^\s*import\s[^;]*?["']([^"']+)["']\s*;""", re.MULTILINE)


class ToolError(Exception):
    """The compiler could not be had, or refused the sources."""


def toolchain() -> Path:
    """Return the folder that holds the pinned ``node_modules``; install them on first use."""
    if not (shutil.which("node") and shutil.which("npm")):
        raise ToolError("Node.js with npm is needed to compile contracts; install them, then run this again.")
    lock = (TOOLCHAIN / "package-lock.json").read_bytes()
    folder = cache_dir() / f"solc-{hashlib.sha256(lock).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as scratch:
        partial = Path(scratch, "install")
        partial.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(TOOLCHAIN / name, partial / name)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=partial)
        # Whoever comes second finds the folder there; both hold the same.
        with contextlib.suppress(OSError):
            partial.rename(folder)
    return folder


def run(command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run a command to its end; its last words become the error."""
    done = subprocess.run(  # noqa: S603 - fixed commands, no shell
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ToolError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-4000:]}")


def collect(modules: Path) -> dict[str, str]:
    """Return every source that our contracts reach, by its import path."""
    found = {path.relative_to(SOURCES).as_posix(): path.read_text() for path in sorted(SOURCES.rglob("*.sol"))}
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        for target in IMPORT.findall(found[name]):
            relative = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            path = relative if target.startswith(".") else target
            if path not in found:
                found[path] = (modules / path).read_text()
                waiting.append(path)
    return found


def compile_sources(folder: Path, sources: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the compiler's version and its answer; warnings about our own sources count as errors."""
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sorted(sources.items())},
        "settings": {**SETTINGS, "outputSelection": {"*": {"*": OUTPUTS}}},
    }
    with tempfile.TemporaryDirectory() as scratch:
        question, answer = Path(scratch, "input.json"), Path(scratch, "output.json")
        question.write_text(json.dumps(request))
        env = {**os.environ, "NODE_PATH": str(folder / "node_modules")}
        run(["node", str(TOOLCHAIN / "solc.js"), str(question), str(answer)], cwd=folder, env=env)
        result = json.loads(answer.read_text())
    problems = [
        problem["formattedMessage"]
        for problem in result["answer"].get("errors", [])
        if problem["severity"] == "error" or not problem.get("sourceLocation", {}).get("file", "").startswith("@")
    ]
    if problems:
        raise ToolError("\n".join(problems))
    return result["version"], result["answer"]["contracts"]


def published(abi: Any) -> Any:
    """Return the ABI with its public names: Solidity reserves ``reference``, sources say ``reference_``."""
    if isinstance(abi, list):
        return [published(item) for item in abi]
    if isinstance(abi, dict):
        return {key: value.rstrip("_") if key == "name" else published(value) for key, value in abi.items()}
    return abi


def artifacts(version: str, contracts: dict[str, Any], library_version: str) -> dict[str, str]:
    """Return the text of each artefact file by its name; interfaces and abstract contracts have none."""
    texts = {}
    for source, group in contracts.items():
        for name, built in group.items():
            code = built["evm"]["bytecode"]["object"]
            if source.startswith("@") or not code:
                continue
            deployed = built["evm"]["deployedBytecode"]
            record = {
                "name": name,
                "compiler": version,
                "library": f"{LIBRARY} {library_version}",
                "settings": SETTINGS,
                "sources": {
                    path: entry["keccak256"] for path, entry in sorted(json.loads(built["metadata"])["sources"].items())
                },
                "abi": published(built["abi"]),
                "bytecode": "0x" + code,
                "deployedBytecode": "0x" + deployed["object"],
                "immutableReferences": sorted(
                    [place["start"], place["length"]]
                    for places in deployed["immutableReferences"].values()
                    for place in places
                ),
            }
            texts[f"{name}.json"] = json.dumps(record, indent=1) + "\n"
    return texts


def build() -> dict[str, str]:
    """Compile everything."""
    folder = toolchain()
    modules = folder / "node_modules"
    version, contracts = compile_sources(folder, collect(modules))
    library = json.loads((modules / LIBRARY / "package.json").read_text())["version"]
    return artifacts(version, contracts, library)


def shortened(text: str) -> list[str]:
    """Return the lines of an artefact with code in rows of 32 bytes, so that a difference can be read."""
    lines: list[str] = []
    for line in text.splitlines():
        rows = [line[start : start + 64] for start in range(0, len(line), 64)]
        lines += rows or [""]
    return lines


def compare(built: dict[str, str]) -> list[str]:
    """Return the differences between what was built and what is committed; empty when there are none."""
    kept = {path.name: path.read_text() for path in ARTIFACTS.glob("*.json")}
    report = [f"{name}: no source makes this file" for name in sorted(kept.keys() - built.keys())]
    for name, text in sorted(built.items()):
        if kept.get(name) == text:
            continue
        old, new = shortened(kept.get(name, "")), shortened(text)
        difference = list(difflib.unified_diff(old, new, f"committed {name}", f"compiled {name}", "", "", 1, ""))
        report += difference[:DIFFERENCE_LINES]
        if len(difference) > DIFFERENCE_LINES:
            report.append(f"... and {len(difference) - DIFFERENCE_LINES} lines more")
    return report


def write(built: dict[str, str]) -> None:
    """Replace the committed artefacts."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for path in ARTIFACTS.glob("*.json"):
        if path.name not in built:
            path.unlink()
    for name, text in built.items():
        (ARTIFACTS / name).write_text(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on any difference")
    check = parser.parse_args(arguments).check
    try:
        built = build()
    except ToolError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    if not check:
        write(built)
        sys.stdout.write(f"wrote {len(built)} artefacts to {ARTIFACTS.relative_to(ROOT)}\n")
        return 0
    report = compare(built)
    if report:
        sys.stderr.write("\n".join(["The artefacts are not what the sources compile to:", *report, ""]))
        return 1
    sys.stdout.write(f"{len(built)} artefacts equal what the sources compile to, byte for byte\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
