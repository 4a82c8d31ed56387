"""What two runs of one etcdctl script may differ in, and nothing else.

Both clusters sit on the same ports with the same names and token, so ids, URLs and revisions are compared as they
are. Replaced are only: Raft terms and indexes, sizes, the server's patch version, times and durations, lease ids
(by the order they were granted in), the order of a lease's keys, which member leads, and the client library's log stamps. A replaced value must
look like what it stands for: a zero term or a negative duration stays, and is seen.
"""

import json
import re


def normalise(output, leases=()):
    """`output` with the values above replaced; `leases` are the ids granted so far, in order, as etcdctl prints them."""
    for number, lease in enumerate(leases, 1):
        output = re.sub(rf"\b{lease}\b", f"<lease {number}>", output)
        output = re.sub(rf"\b{int(lease, 16)}\b", f"<lease {number}>", output)
    lines = [_line(line) for line in output.splitlines()]
    return "\n".join(_table(lines))


def _line(line):
    if line.startswith('{"level"'):
        return _client_log(line)
    line = re.sub(r'("raft_?[tT]erm"\s?:\s?)[1-9]\d*', r"\1<term>", line)
    line = re.sub(r'("RaftTerm" : )[1-9]\d*', r"\1<term>", line)
    line = re.sub(r"took = \d+(\.\d+)?(µs|ms|s)\b", "took = <time>", line)
    line = re.sub(r"(TTL\((\d+)s\), remaining\()(\d+)(?=s\))", lambda m: m[1] + _remaining(m[2], m[3]), line)
    line = re.sub(r'("ttl":)(\d+)(,"granted-ttl":(\d+))', lambda m: m[1] + _remaining(m[4], m[2]) + m[3], line)
    # etcd gives a lease's keys in the order of a hash table.
    line = re.sub(r"(attached keys\(\[)(.*)(\]\))", lambda m: m[1] + _sorted(m[2], " ") + m[3], line)
    return re.sub(r'("granted-ttl":\d+,"keys":\[)([^]]*)(\])', lambda m: m[1] + _sorted(m[2], ",") + m[3], line)


def _remaining(granted, remaining):
    """A remaining time-to-live that is at most ten seconds below the granted one is as good as another."""
    return "<about as granted>" if int(granted) - 10 <= int(remaining) <= int(granted) else remaining


def _sorted(items, separator):
    return separator.join(sorted(items.split(separator)))


def _client_log(line):
    """A warning of etcdctl's own client library: what it says, without its time and the name of its connection."""
    fields = json.loads(line)
    fields.pop("ts", None)
    fields["target"] = re.sub(r"client-[0-9a-f-]{36}|0x[0-9a-f]+", "<connection>", fields.get("target", ""))
    return json.dumps(fields, sort_keys=True)


_COLUMNS = {
    "VERSION": (r"3\.5\.\d+", "<3.5>"),
    "DB SIZE": (r"[1-9]\d*(\.\d+)? ([kM]?B)", "<size>"),
    "RAFT TERM": (r"[1-9]\d*", "<term>"),
    "RAFT INDEX": (r"[1-9]\d*", "<index>"),
    "RAFT APPLIED INDEX": (r"[1-9]\d*", "<index>"),
    "TOOK": (r"\d+(\.\d+)?(µs|ms|s)", "<time>"),
}


def _table(lines):
    """Tables row by row as lists of cells: a column's width hangs on what is in it. Which one leads becomes how many do."""
    columns = None
    leaders = 0
    result = []
    for line in lines:
        if re.fullmatch(r"\+[-+]+\+", line):
            continue
        if not (line.startswith("|") and line.endswith("|")):
            columns = None
            result.append(line)
            continue
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if columns is None:
            columns = cells
        else:
            cells = [_cell(column, cell) for column, cell in zip(columns, cells, strict=True)]
            if "IS LEADER" in columns:
                at = columns.index("IS LEADER")
                leaders += cells[at] == "true"
                cells[at] = "<true or false>" if cells[at] in ("true", "false") else cells[at]
        result.append(" | ".join(cells))
    if any("IS LEADER" in line for line in result):
        result.append(f"<leaders: {leaders}>")
    return result


def _cell(column, cell):
    pattern, name = _COLUMNS.get(column, (None, None))
    return name if pattern and re.fullmatch(pattern, cell) else cell
