"""Deliberate mistakes as text: what a file of `variants/` says, and how all of them get into one copy of the sources.

A variant is prose for people, then lines for the runner:

    caught within 20 seeds of: simulate --members 3
    reported as: two leaders|has voted

    in Sources/Raft/RaftNode+Election.swift, the expression
        vote == .none && leader == .none
    becomes
        leader == .none

`reported as` is a regular expression that the simulator's report must contain. Of edits there may be several. They replace
`the expression` or `the statements`, optionally only "after `some text`" where the text alone stands in several places, and
may end in `are left out`. The white space of the sources does not matter, each text must stand there exactly once.

Every edit keeps the present text beside the broken one, and a function of C with the variant's name, which reads a variable
set at the program's start, chooses between them: one build holds all variants and, while none is chosen, behaves as the sources do.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path


class VariantError(Exception):
    """A variant that does not fit: what it says, or the sources it names."""


@dataclass(frozen=True)
class Edit:
    file: str
    is_expression: bool
    after: str
    present: str
    broken: str


@dataclass(frozen=True)
class Variant:
    name: str
    summary: str
    seeds: int
    options: list
    pattern: re.Pattern
    edits: list = field(default_factory=list)


EDIT = re.compile(
    r"^in (?P<file>\S+), the (?P<form>expression|statements?)(?: after `(?P<after>.+)`)?\n"
    r"(?P<present>(?:(?: {4}.*)?\n)+)"
    r"(?:becomes?\n(?P<broken>(?:(?: {4}.*)?\n)+)|(?:is|are) left out\n)",
    re.MULTILINE,
)


def read_variant(path):
    text = path.read_text().rstrip() + "\n"

    def line(start, shape):
        found = re.findall(rf"^{start}{shape}$", text, re.MULTILINE)
        if len(found) != 1:
            raise VariantError(f"{path}: needs one line `{start}...`, has {len(found)}")
        return found[0]

    seeds, options = line("caught within ", r"(\d+) seeds? of: simulate ?(.*)")
    edits = [
        Edit(
            found["file"], found["form"] == "expression", found["after"] or "",
            found["present"].strip("\n"), (found["broken"] or "").strip("\n"))
        for found in EDIT.finditer(text)
    ]
    if len(edits) != len(re.findall(r"^in \S+, ", text, re.MULTILINE)) or not edits:
        raise VariantError(f"{path}: an edit is not of the form that variant.py describes")
    return Variant(
        path.stem, text.split("\n")[0], int(seeds), options.split(), re.compile(line("reported as: ", "(.+)")), edits)


def read_variants(directory):
    return [read_variant(path) for path in sorted(Path(directory).glob("*.txt"))]


def find(text, sought, start=0):
    """The places of `sought`, whatever the white space."""
    pattern = r"\s+".join(re.escape(word) for word in sought.split())
    return [found.span() for found in re.compile(pattern).finditer(text, start)]


@dataclass
class Place:
    start: int
    end: int
    edits: list
    inner: list = field(default_factory=list)


def place_of(variant, edit, text):
    start = 0
    if edit.after:
        before = find(text, edit.after)
        if len(before) != 1:
            raise VariantError(
                f"variant {variant.name}: {edit.file} has `{edit.after}` {len(before)} times, not once; the sources have moved, "
                f"so change the variant with them")
        start = before[0][1]
    places = find(text, edit.present, start)
    if not places or (len(places) > 1 and not edit.after):
        raise VariantError(
            f"variant {variant.name}: {edit.file} has this text {len(places)} times, not once; the sources have moved, so "
            f"change the variant with them:\n{edit.present}")
    return places[0]


def edited(text, edits):
    """`text` of a file with all `edits` of it, pairs of a variant and an edit, side by side."""
    places = {}
    for variant, edit in edits:
        places.setdefault(place_of(variant, edit, text), []).append((variant, edit))
    whole = Place(0, len(text), [])
    # The outermost first: an edit within another's present text goes there.
    for (start, end), here in sorted(places.items(), key=lambda item: (item[0][0], -item[0][1])):
        around = whole
        while around.inner and around.inner[-1].end > start:
            around = around.inner[-1]
        if end > around.end or len({edit.is_expression for _, edit in here}) > 1:
            names = " and ".join(variant.name for variant, _ in [*around.edits, *here])
            raise VariantError(f"variants {names}: their texts in {here[0][1].file} overlap; let them replace the same text")
        around.inner.append(Place(start, end, here))
    return render(whole, text)


def render(place, text):
    parts, position = [], place.start
    for inner in place.inner:
        parts += [text[position:inner.start], render(inner, text)]
        position = inner.end
    result = "".join(parts) + text[position:place.end]
    for variant, edit in reversed(place.edits):
        if edit.is_expression:
            result = f"(planted_{variant.name}() ? (\n{edit.broken}\n) : (\n{result}\n))"
        else:
            result = f"if planted_{variant.name}() {{\n{edit.broken}\n}} else {{\n{result}\n}}"
    return result


def chooser(variants):
    """The C module that says which variant is chosen: header and source."""
    functions = "".join(
        f"static inline bool planted_{variant.name}(void) {{ return planted_chosen == {number}; }}\n"
        for number, variant in enumerate(variants, 1))
    names = "".join(f'    "{variant.name}",\n' for variant in variants)
    header = f"#include <stdbool.h>\n\n/// 0 for none.\nextern int planted_chosen;\n\n{functions}"
    source = f"""\
#include "planted.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int planted_chosen;

static const char *const names[] = {{
{names}}};

__attribute__((constructor)) static void choose(void) {{
    const char *name = getenv("PLANTED");
    if (!name || !*name) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) planted_chosen = (int)i + 1;
    if (planted_chosen) return;
    fprintf(stderr, "no variant is named %s\\n", name);
    exit(2);
}}
"""
    return header, source
