#!/usr/bin/env python3
"""Plants deliberate mistakes in a copy of the sources and checks that the simulator catches each.

Every file of `variants/` is one mistake that a developer could make: see `variant.py` for what it says. All go into one copy,
built once; the environment variable PLANTED chooses one when the simulator starts. The copy must pass with none; with each, one of
the first seeds that the variant allows must fail as it says, and the same seed must pass without it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from variant import VariantError, chooser, edited, read_variants

ROOT = Path(__file__).resolve().parents[2]
SWIFT = os.environ.get("SWIFT", "swift")
CONTROLS = [["--members", "3"], ["--members", "5"]]
CONTROL_SEEDS = 3
# A run takes a second; one that takes this long goes round in circles.
LONGEST_RUN_SECONDS = 120


class BuildError(Exception):
    """The copy does not build."""


# The copy.


def targets_of_simulator():
    """The targets that the program `simulate` is made of, as `swift package dump-package` shows them; and the package."""
    dump = subprocess.run(
        [SWIFT, "package", "--package-path", ROOT, "dump-package"], check=True, capture_output=True, text=True)
    package = json.loads(dump.stdout)
    declared = {target["name"]: target for target in package["targets"]}
    targets, waiting = {}, ["simulate"]
    while waiting:
        name = waiting.pop()
        if name not in targets:
            targets[name] = declared[name]
            waiting += [given["byName"][0] for given in declared[name]["dependencies"] if "byName" in given]
    return list(targets.values()), package


def manifest(targets, package):
    """A Package.swift for these targets, each of which may ask which variant is chosen."""
    lines, products = [], set()
    for target in targets:
        names = ['"CPlanted"']
        for given in target["dependencies"]:
            if "byName" in given:
                names.append(f'"{given["byName"][0]}"')
            else:
                product, source = given["product"][:2]
                products.add(source)
                names.append(f'.product(name: "{product}", package: "{source}")')
        kind = "executableTarget" if target["type"] == "executable" else "target"
        lines.append(f'        .{kind}(name: "{target["name"]}", dependencies: [{", ".join(names)}]),')
    sources = [given["sourceControl"][0] for given in package["dependencies"] if "sourceControl" in given]
    packages = [
        f'        .package(url: "{source["location"]["remote"][0]["urlString"]}", '
        f'from: "{source["requirement"]["range"][0]["lowerBound"]}"),'
        for source in sources if source["identity"] in products
    ]
    return "\n".join([
        "// swift-tools-version: 6.2", "import PackageDescription", "", "let package = Package(", '    name: "planted",',
        "    dependencies: [", *packages, "    ],", "    targets: [", '        .target(name: "CPlanted"),', *lines, "    ],",
        "    swiftLanguageModes: [.v6]", ")", ""])


def copy_sources(variants, directory):
    """Makes or refreshes the copy with all variants in it. What has not changed is not touched, and so not built again."""
    targets, package = targets_of_simulator()
    folders = [f"Sources/{target['name']}" for target in targets]
    contents = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file():
                contents[str(path.relative_to(ROOT))] = path.read_text()
    edits = {}
    for variant in variants:
        for edit in variant.edits:
            if edit.file not in contents:
                raise VariantError(
                    f"variant {variant.name}: {edit.file} is no part of the simulator ({', '.join(sorted(folders))}); if it was "
                    f"renamed, change the variant with it")
            edits.setdefault(edit.file, []).append((variant, edit))
    for file, changes in edits.items():
        contents[file] = "import CPlanted\n" + edited(contents[file], changes)
    header, source = chooser(variants)
    contents |= {
        "Package.swift": manifest(targets, package),
        "Sources/CPlanted/include/planted.h": header,
        "Sources/CPlanted/planted.c": source,
    }
    resolved = ROOT / "Package.resolved"
    if resolved.exists() and not (directory / "Package.resolved").exists():
        contents["Package.resolved"] = resolved.read_text()

    for file, text in contents.items():
        path = directory / file
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in (directory / "Sources").rglob("*"):
        if path.is_file() and str(path.relative_to(directory)) not in contents:
            path.unlink()


def build(directory):
    """Builds the copy in release; returns the simulator."""
    command = [SWIFT, "build", "-c", "release", "--package-path", directory, "--product", "simulate"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "error:" in line] or done.stdout.splitlines()[-30:]
        raise BuildError("the copy with the variants does not build:\n" + "\n".join(lines))
    return directory / ".build/release/simulate"


# Runs.


@dataclass(frozen=True)
class Simulator:
    program: Path

    def failure(self, seed, options, variant=None):
        """What the simulator reports for one seed; None when the run passes."""
        command = [self.program, "--seed", str(seed), "--json", *options]
        environment = os.environ | {"PLANTED": variant or "", "SWIFT_BACKTRACE": "enable=no"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=LONGEST_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            return f"no end after {LONGEST_RUN_SECONDS} s"
        if done.returncode < 0:
            return f"ended by {signal.Signals(-done.returncode).name}: {' '.join(done.stderr.split())}"
        for line in done.stdout.splitlines():
            report = json.loads(line) if line.startswith("{") else {}
            if report.get("seed") == seed:
                return report["failure"]
        raise BuildError(f"simulate {' '.join(command[1:])} reports nothing on its seed:\n{done.stdout}{done.stderr}")


@dataclass(frozen=True)
class Verdict:
    passed: bool
    name: str
    text: str
    seconds: float

    def __str__(self):
        return f"{'caught' if self.passed else 'FAILED'}  {self.name:<28} {self.text}  ({self.seconds:.1f} s)"


def check_control(simulator, options):
    """The copy, with no variant chosen, passes."""
    start = time.monotonic()
    for seed in range(1, CONTROL_SEEDS + 1):
        if failure := simulator.failure(seed, options):
            return Verdict(False, "none", f"{' '.join(options)}: seed {seed} fails: {failure}", time.monotonic() - start)
    return None


def check(simulator, variant, scale):
    start = time.monotonic()
    limit = max(1, round(variant.seeds * scale))

    def verdict(passed, text):
        return Verdict(passed, variant.name, text, time.monotonic() - start)

    for seed in range(1, limit + 1):
        failure = simulator.failure(seed, variant.options, variant.name)
        if failure is None:
            continue
        if not variant.pattern.search(failure):
            return verdict(False, f"seed {seed} fails, but not as `{variant.pattern.pattern}`: {failure}")
        if other := simulator.failure(seed, variant.options):
            return verdict(False, f"seed {seed} fails without it, too: {other}")
        return verdict(True, f"seed {seed} of {limit}: {failure}")
    return verdict(False, f"none of {limit} seeds shows it: simulate {' '.join(variant.options)}")


def arguments():
    parser = argparse.ArgumentParser(description="Checks that the simulator catches deliberate mistakes.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the variants to run; all without")
    parser.add_argument("--list", action="store_true", help="print the variants and stop")
    parser.add_argument("--check", action="store_true", help="make the copy, see that every variant fits, and stop")
    parser.add_argument(
        "--seeds-scale", type=float, default=1, metavar="F", help="allow each F times the seeds that it states")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / ".build/planted", help="where the copy is kept, .build/planted without")
    return parser.parse_args()


def main():
    asked = arguments()
    variants = read_variants(Path(__file__).parent / "variants")
    if asked.list:
        for variant in variants:
            print(f"{variant.name:<28} {variant.seeds:>4}  {variant.summary}")
        return 0
    if unknown := set(asked.names) - {variant.name for variant in variants}:
        raise VariantError(f"no variant is named {', '.join(sorted(unknown))}: see --list")
    directory = asked.directory.resolve()
    copy_sources(variants, directory)
    if asked.check:
        print(f"{len(variants)} variants fit the sources")
        return 0
    start = time.monotonic()
    simulator = Simulator(build(directory))
    print(f"built with {len(variants)} variants in {time.monotonic() - start:.0f} s", flush=True)

    chosen = [variant for variant in variants if not asked.names or variant.name in asked.names]
    passed = failed = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # Those that may take many seeds first, so that they do not end alone.
        runs = [pool.submit(check_control, simulator, options) for options in CONTROLS] + [
            pool.submit(check, simulator, variant, asked.seeds_scale)
            for variant in sorted(chosen, key=lambda variant: -variant.seeds)]
        for run in as_completed(runs):
            verdict = run.result()
            if verdict is None:
                continue
            print(verdict, flush=True)
            passed += verdict.passed
            failed += not verdict.passed
    print(f"{passed} passed, {failed} failed in {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (VariantError, BuildError) as error:
        sys.exit(str(error))
