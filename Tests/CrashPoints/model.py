"""What a disk may hold after the power failed, from the journal of the calls that were made (shim.c).

A file's bytes are certain as of its last sync. A directory's names are certain as of the directory's own last sync: a file that
was made, renamed or deleted since may be there under its new name, its old one, or not. What was not synced is kept up to
some point that each file and directory has for itself: at none of it the image is the strictest, at all of it the laziest.
"""

import os
import struct
from dataclasses import dataclass, field

SECTOR = 512


@dataclass
class Call:
    """One record of the journal."""

    kind: str
    number: int
    first: int
    second: int
    path: str
    to: str
    data: bytes

    def __str__(self):
        words = {
            "c": "create", "t": "empty", "w": "write", "s": "resize", "f": "sync", "d": "sync", "y": "sync all", "r": "rename",
            "l": "link", "u": "unlink", "x": "rmdir", "m": "mkdir", "a": "say",
        }  # fmt: skip
        detail = f" {len(self.data)} bytes at {self.second}" if self.kind == "w" else f" to {self.to}" if self.to else ""
        return f"{words[self.kind]} {self.path}{detail}"


def read_journal(path, root):
    """The calls in a journal, their paths relative to `root`."""
    with open(path, "rb") as file:
        content = file.read()
    calls, place = [], 0
    relative = lambda name: os.path.relpath(name, root) if name else ""  # noqa: E731
    while place < len(content):
        kind = chr(content[place])
        number, first, second, *lengths = struct.unpack_from("<6Q", content, place + 1)
        place += 49
        fields = []
        for length in lengths:
            fields.append(content[place : place + length])
            place += length
        assert place <= len(content), "the journal is cut short"
        calls.append(Call(kind, number, first, second, relative(fields[0].decode()), relative(fields[1].decode()), fields[2]))
    return calls


@dataclass
class Node:
    """A file (its changes are writes and sizes) or a directory (its changes are names)."""

    is_directory: bool
    changes: list = field(default_factory=list)
    synced: int = 0


class Disk:
    """The files and directories, with all that happened to them."""

    def __init__(self):
        self.root = Node(True)
        self.inodes = {}

    @classmethod
    def holding(cls, directory):
        """A disk with what a real directory holds, all of it certain."""
        disk = cls()
        disk._take(directory, disk.root)
        for node in [disk.root, *disk.inodes.values()]:
            node.synced = len(node.changes)
        return disk

    def _take(self, directory, node):
        self.inodes[os.stat(directory).st_ino] = node
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            inode = os.stat(path).st_ino
            known = self.inodes.get(inode)
            if known is None:
                known = self.inodes[inode] = Node(os.path.isdir(path))
                if known.is_directory:
                    self._take(path, known)
                else:
                    with open(path, "rb") as file:
                        known.changes.append((0, file.read()))
            node.changes.append(("add", name, known))

    def perform(self, call):
        kind = call.kind
        if kind in "cm":
            self.inodes[call.first] = Node(kind == "m")
            self._change(call.path, "add", self.inodes[call.first])
        elif kind == "t":
            self.inodes[call.first].changes.append((0, None))
        elif kind == "s":
            self.inodes[call.first].changes.append((call.second, None))
        elif kind == "w":
            self.inodes[call.first].changes.append((call.second, call.data))
        elif kind in "fd":
            node = self.root if call.path == "." else self.inodes[call.first]
            node.synced = len(node.changes)
        elif kind == "y":
            for node in [self.root, *self.inodes.values()]:
                node.synced = len(node.changes)
        elif kind == "l":
            self._change(call.to, "add", self._find(call.path))
        elif kind in "ux":
            self._change(call.path, "remove", None)
        elif kind == "r":
            node = self._find(call.path)
            if os.path.dirname(call.path) == os.path.dirname(call.to):
                # Within a directory it is one change: never both names, never neither.
                parent = self._find(os.path.dirname(call.path))
                parent.changes.append(("move", os.path.basename(call.path), os.path.basename(call.to), node))
            else:
                self._change(call.to, "add", node)
                self._change(call.path, "remove", None)

    def _change(self, path, what, node):
        self._find(os.path.dirname(path)).changes.append((what, os.path.basename(path), node))

    def _find(self, path):
        node = self.root
        for name in path.split("/") if path not in ("", ".") else []:
            node = names(node.changes)[name]
        return node

    # Images.

    def write(self, directory, keep):
        """Makes `directory` what the disk holds. `keep(node)` answers the changes of a node that survived."""
        made = {}

        def put(node, path):
            if id(node) in made and not node.is_directory:
                os.link(made[id(node)], path)
            elif node.is_directory:
                os.makedirs(path, exist_ok=True)
                for name, child in names(keep(node)).items():
                    put(child, os.path.join(path, name))
            else:
                made[id(node)] = path
                with open(path, "wb") as file:
                    file.write(content(keep(node)))

        put(self.root, directory)


def names(changes):
    """What a directory lists."""
    listed = {}
    for change in changes:
        if change[0] == "add":
            listed[change[1]] = change[2]
        elif change[0] == "remove":
            listed.pop(change[1], None)
        else:
            listed.pop(change[1], None)
            listed[change[2]] = change[3]
    return listed


def content(changes):
    """What a file holds."""
    held = bytearray()
    for place, data in changes:
        end = place if data is None else place + len(data)
        if data is None:
            del held[end:]
        if len(held) < end:
            held.extend(bytes(end - len(held)))
        if data is not None:
            held[place:end] = data
    return held


def strictest(node):
    """Nothing survives but what was synced."""
    return node.changes[: node.synced]


def laziest(node):
    """Everything survives, as when only the process was killed."""
    return node.changes


def mixed(chance):
    """Of each file and directory, what was synced and a random part of what followed; the last write may be torn."""

    chosen = {}

    def keep(node):
        # One answer for each node, however many names it has.
        if id(node) not in chosen:
            kept = chance.randint(node.synced, len(node.changes))
            changes = node.changes[:kept]
            if kept < len(node.changes) and not node.is_directory:
                place, data = node.changes[kept]
                if data is not None:
                    changes = changes + torn(place, data, len(content(changes)), chance)
            chosen[id(node)] = changes
        return chosen[id(node)]

    return keep


def torn(place, data, size, chance):
    """What is left of a write that was under way: whole sectors from its beginning, or, of one that made the file longer, the
    length and nothing of the data."""
    last = (place + len(data) - 1) // SECTOR
    cut = chance.randint(place // SECTOR, last) * SECTOR
    if place >= size and chance.random() < 0.3:
        return [(place, bytes(len(data)))]
    return [(place, data[: cut - place])] if cut > place else []
