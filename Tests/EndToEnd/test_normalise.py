"""The normaliser forgives what may differ and nothing else."""

import pytest
from normalise import normalise

STATUS = """\
+-----------------------+------------------+---------+---------+-----------+------------+-----------+------------+--------------------+--------+
|       ENDPOINT        |        ID        | VERSION | DB SIZE | IS LEADER | IS LEARNER | RAFT TERM | RAFT INDEX | RAFT APPLIED INDEX | ERRORS |
+-----------------------+------------------+---------+---------+-----------+------------+-----------+------------+--------------------+--------+
| http://127.0.0.1:2379 | 8211f1d0f64f3269 |   3.5.1 |   20 kB |      true |      false |         2 |          9 |                  9 |        |
| http://127.0.0.1:2479 | 91bc3c398fb3c146 |   3.5.1 |   20 kB |     false |      false |         2 |          9 |                  9 |        |
+-----------------------+------------------+---------+---------+-----------+------------+-----------+------------+--------------------+--------+"""
HEADER = '{"header":{"cluster_id":1,"member_id":2,"revision":3,"raft_term":2},"count":1}'
LEASE = "lease 694d7f0c4fbbd812 granted with TTL(60s), remaining(58s), attached keys([/a])"
KEYS = '{"id":387679,"ttl":299,"granted-ttl":300,"keys":["Yg==","YQ=="]}'
WARNING = (
    '{"level":"warn","ts":"2026-01-01T00:00:00.000Z","caller":"c.go:62","msg":"retrying of unary invoker failed",'
    '"target":"endpoint://client-11111111-2222-3333-4444-555555555555/127.0.0.1:2379","attempt":0,"error":"bad"}'
)


@pytest.mark.parametrize(
    "text, old, new",
    [
        (STATUS, "  3.5.1 ", " 3.5.16 "),
        (STATUS, "|   20 kB |", "| 1.3 MB |"),
        (STATUS, "         2 |          9 ", "        31 |         77 "),
        (HEADER, '"raft_term":2', '"raft_term":17'),
        ("http://x is healthy: successfully committed proposal: took = 1.5ms", "1.5ms", "912.04µs"),
        (LEASE, "remaining(58s)", "remaining(60s)"),
        (KEYS, '"Yg==","YQ=="', '"YQ==","Yg=="'),
        (KEYS, '"ttl":299', '"ttl":297'),
        (WARNING, "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.500Z"),
        (WARNING, "11111111-2222", "99999999-8888"),
    ],
)
def test_what_may_differ_is_forgiven(text, old, new):
    assert old in text
    assert normalise(text) == normalise(text.replace(old, new))


def test_which_member_leads_is_forgiven_but_not_how_many_do():
    follows, leads = "|     false |      false |", "|      true |      false |"
    swapped = STATUS.replace(leads, "<one>").replace(follows, leads).replace("<one>", follows)
    assert swapped != STATUS
    assert normalise(STATUS) == normalise(swapped)
    assert normalise(STATUS) != normalise(STATUS.replace(leads, follows))
    assert normalise(STATUS) != normalise(STATUS.replace(follows, leads))


def test_lease_ids_are_forgiven_but_not_which_lease_is_meant():
    other = LEASE.replace("694d7f0c4fbbd812", "1234567890abcdef")
    assert normalise(LEASE, ["694d7f0c4fbbd812"]) == normalise(other, ["1234567890abcdef"])
    both = ["694d7f0c4fbbd812", "1234567890abcdef"]
    assert normalise(LEASE, both) != normalise(other, both)
    assert normalise(f'{{"ID":{0x694D7F0C4FBBD812}}}', both) == '{"ID":<lease 1>}'


@pytest.mark.parametrize(
    "text, old, new",
    [
        (STATUS, "8211f1d0f64f3269", "8211f1d0f64f3268"),
        (STATUS, "   3.5.1 ", "   3.4.1 "),
        (STATUS, "|   20 kB |", "|     0 B |"),
        (STATUS, "         2 |          9 ", "         0 |          9 "),
        (STATUS, "|        |", "| broken |"),
        (STATUS, STATUS.splitlines()[4] + "\n", ""),
        (STATUS, "IS LEARNER", "LEARNER"),
        (HEADER, '"revision":3', '"revision":4'),
        (HEADER, '"raft_term":2', '"raft_term":0'),
        (HEADER, '"cluster_id":1', '"cluster_id":5'),
        (HEADER, '"count":1', '"count":"1"'),
        (LEASE, "remaining(58s)", "remaining(-1s)"),
        (LEASE, "remaining(58s)", "remaining(12s)"),
        (LEASE, "TTL(60s)", "TTL(61s)"),
        (LEASE, "[/a]", "[]"),
        (KEYS, '"ttl":299', '"ttl":301'),
        (KEYS, '"YQ=="', '"YWE="'),
        (WARNING, '"error":"bad"', '"error":"worse"'),
        ("127.0.0.1:2379, 1084519789", "1084519789", "1084519788"),
        ("key\nvalue", "value", "valve"),
        ("key\nvalue", "\nvalue", ""),
        ("took = 1.5ms", "1.5ms", "-1ms"),
    ],
)
def test_a_real_difference_is_seen(text, old, new):
    assert old in text
    assert normalise(text) != normalise(text.replace(old, new))
