"""Every way in which a provider, a file host, a disk or a database misbehaves in the proof, by name."""

from collections.abc import Iterator
from decimal import Decimal

from tests.proof.truth import Script

__all__ = ["FAMILIES", "FAMILY_OF", "SCRIPTS"]


def _lost_creates() -> Iterator[Script]:
    for kind in ("lost", "closed", "reset", "timeout"):
        for when in ("before", "after", "late"):
            yield Script(f"create-{kind}-{when}", create=(f"{kind}:{when}",))
    yield Script("create-cut", create=("cut:before",))
    yield Script("create-twice-lost", create=("lost:after", "lost:before"), shots=2, at_once=1)
    for status in (500, 502, 503, 504, 408, 409, 307, 301):
        yield Script(f"http-{status}-before", create=(f"http:{status}",))
        yield Script(f"http-{status}-after", create=(f"http:{status}-after",))
    for kind in ("html", "unlisted"):
        yield Script(f"{kind}-before", create=(f"{kind}:before",))
        yield Script(f"{kind}-after", create=(f"{kind}:after",))


def _definite_creates() -> Iterator[Script]:
    for kind in ("refused-connection", "connect-timeout", "pool-timeout", "proxy"):
        yield Script(kind, create=(kind,))
        yield Script(f"{kind}-for-long", create=(kind,) * 5)
    for after in ("", "2", "soon", "120", "7200", "1000000000", "-5", "Sun, 01 Mar 2026 12:00:09 GMT"):
        yield Script(f"http-429-{after or 'bare'}", create=(f"http:429-{after}",))
    yield Script("told-429", create=("told:429",))
    yield Script("queue-full", create=("queue-full", "queue-full"))
    for status in (400, 401, 402, 403, 404, 413, 422):
        yield Script(f"http-{status}", create=(f"http:{status}",), shots=2, at_once=1)
    for kind in ("no-credit", "bad-key", "invalid", "moderation", "known-text"):
        yield Script(kind, create=(kind,), shots=2, at_once=1)
    for kind in ("accepting:after", "refusing:before", "refusing:after"):
        yield Script(f"says-{kind.replace(':', '-')}", create=(kind,))


def _odd_accepts() -> Iterator[Script]:
    for what in ("empty", "null", "number", "list", "object"):
        yield Script(f"id-{what}", create=(f"id:{what}",))
    for kind in ("id-missing", "id-outside", "contradiction", "json-cut", "json-cut-end", "bom", "twin-keys"):
        yield Script(kind, create=(kind,))
    yield Script("empty-body", create=("empty-body",))
    yield Script("body-breaks-off", create=("break",))
    yield Script("id-of-another", create=("ok", "id-of-another"), shots=2, lies=True)
    for shape in ("list", "twin", "top"):
        yield Script(f"two-ids-{shape}", create=(f"two-ids:{shape}",))
    yield Script("double-accept", create=("twice",), exact=False)
    yield Script("callback-first", create=("callback-first",))
    yield Script("callback-then-lost", create=("callback-first:lost",))


def _amounts() -> Iterator[Script]:
    """What is named at the create, at the query or in the account's list is odd, changes, or is not the quote."""
    for what in ("word", "negative", "nan", "huge", "comma", "number", "currency"):
        yield Script(f"amount-{what}", create=(f"amount:{what}",))
    yield Script("amount-missing", create=("amount-missing",))
    yield Script("unread-create", create=("amount:word",), query=("silent*",))
    yield Script("unread-query", query=("credit:abc*",))
    yield Script("unread-stops", create=("amount:word",), query=("silent*",), shots=2, at_once=1, ends="any")
    for amount in ("0", "0.1", "0.45"):
        yield Script(f"named-{amount}", create=(f"named:{amount}", "ok"), shots=2, cap=1, at_once=1, ends="any")
    changing = ("ok", "credit:0.5", "credit:0.45", "credit:0.5", "credit:0.45")
    yield Script("named-again-and-again", create=("named:0.5",), query=changing, file=("410",) * 5)
    yield Script("bill-1pct", create=("bill:1.01",), overbills=True)
    yield Script("bill-30pct", create=("bill:1.3",), shots=2, at_once=1, overbills=True)
    yield Script("bill-times-100", create=("bill:100",), shots=2, at_once=1, overbills=True, ends="any")
    yield Script("bill-3x", create=("bill:3",), query=("silent*",), overbills=True)
    yield Script("odd-bill-3x", create=("odd-bill:3",), query=("silent*",), overbills=True)
    yield Script("sjinn-charged-twice", create=("charged-twice",), provider="sjinn", overbills=True)
    yield Script(
        "sjinn-failed-charged-twice",
        create=("charged-twice",),
        job=("failed",),
        provider="sjinn",
        overbills=True,
        ends="FAILED_FINAL",
    )


def _polls() -> Iterator[Script]:
    for status in (404, 500, 502, 503, 429, 401, 403):
        yield Script(f"query-{status}", query=(str(status),) * 2)
    for kind in ("lost", "closed", "reset", "html", "cut", "no-data", "other-job"):
        yield Script(f"query-{kind}", query=(kind,) * 2)
    for kind in ("unknown-status", "null-status", "word-status", "backwards", "no-urls"):
        yield Script(kind, query=("ok", kind, kind))
    yield Script("never-found", query=("404",) * 5)
    yield Script("failed-first", query=("ok", "failed-first"))
    yield Script("failed-for-a-day", job=("late",))
    for kind in ("refunded-backwards", "refunded-failed-first", "two-fold"):
        yield Script(kind, query=("ok", kind))
    yield Script("two-fold-at-sjinn", provider="sjinn", query=("ok", "two-fold"))


def _ends() -> Iterator[Script]:
    yield Script("stuck", job=("stuck",), ends="SUBMITTED")
    yield Script("failed-refunded", job=("failed-refunded",), ends="FAILED_FINAL")
    yield Script("failed-billed", job=("failed-billed",), ends="FAILED_FINAL")
    yield Script("failed-silent", job=("failed",), ends="FAILED_FINAL")
    yield Script("moderated", job=("moderated",), ends="FAILED_FINAL")


def _files() -> Iterator[Script]:
    for status in (403, 404, 410, 500, 503):
        yield Script(f"file-{status}", file=(str(status),))
    yield Script("file-410-for-ever", file=("410*",), ends="RESULT_HELD")
    for kind in ("lost", "break", "cut-closed", "empty", "garbage"):
        yield Script(f"file-{kind}", file=(kind,))
    for kind in ("html", "json", "metadata"):
        yield Script(f"file-{kind}", file=(kind,))
    yield Script("file-short", file=("short",))
    yield Script("file-garbage-for-ever", file=("garbage*",), ends="RESULT_HELD")


def _held() -> Iterator[Script]:
    """The first take is held, a person decides about it, and a day later its link works after all."""
    ways = {
        "retake": ("retake",),
        "take-2": ("take: 2",),
        "written-off": ("write off",),
        "written-off-and-retaken": ("write off", "retake"),
    }
    for name, decides in ways.items():
        for link in ("410", "garbage"):
            yield Script(f"held-{link}-{name}", job=(f"dead:{link}",), decides=decides)
        yield Script(f"sjinn-held-html-{name}", job=("dead:html",), provider="sjinn", decides=decides)
    yield Script("held-410-retake-lost", create=("ok", "lost:after"), job=("dead:410",), decides=("retake",))


def _odd_stores() -> Iterator[Script]:
    for kind in ("written-twice", "foreign"):
        yield Script(f"store-{kind}", store=(kind,))
    yield Script("store-cuts-the-take", store=("cut",))
    yield Script("slip-written-twice", slip=("written-twice",))


def _away() -> Iterator[Script]:
    """Store, ledger or journal take nothing, or do not say that they did."""
    for kind in ("fail", "fail-after", "half", "denied"):
        yield Script(f"store-{kind}", store=(kind,))
    yield Script("store-down", store=("fail",) * 6)
    yield Script("receipt-fails", receipt=("fail",) * 5)
    for kind in ("fail", "fail-after", "half"):
        yield Script(f"slip-{kind}", slip=(kind,))
    yield Script("slip-refused", slip=("fail",) * 4, shots=2, at_once=1)
    yield Script("slip-denied", slip=("denied",))
    yield Script("slip-rewrite-fails", rewrite=("fail",) * 9)
    yield Script("locked-at-reserve", ledger=("K2:",), patient=True)
    yield Script("locked-at-accepted", ledger=("K12:",), patient=True)
    yield Script("locked-at-accepted-commit", ledger=("K12:COMMIT",), patient=True)
    yield Script("locked-at-succeeded", ledger=("K16:",), patient=True)
    yield Script("locked-at-stored", ledger=("K20:",), patient=True)
    yield Script("reserved-and-not-told", ledger=("K2:DONE",), patient=True)
    steps = ("K2", "K2", "K5", "K12", "K14", "K15", "K17", "K18", "K20", "K21", "K22")
    yield Script("ledger-away-at-each-step", ledger=tuple(f"{step}:" for step in steps), patient=True)
    yield Script("journal-full-before", ledger=("journal:K2",))
    yield Script("journal-full-after", ledger=("journal:K10",))
    yield Script("journal-full-and-locked", ledger=("journal:K10", "K10:"))


def _budgets() -> Iterator[Script]:
    yield Script("cap-for-one", shots=2, cap=1, ends="any")
    yield Script("cap-for-one-lost", create=("lost:after",), shots=2, cap=1, ends="any")
    yield Script("cap-for-one-refused", create=("invalid",), shots=2, cap=1, ends="any")
    yield Script("approval-for-one", shots=2, cap=1, ends="any", one_approval=True)
    yield Script("approval-for-one-in-credits", provider="sjinn", shots=2, cap=1, ends="any", one_approval=True)
    yield Script("approval-for-two-lost", create=("lost:after",), shots=3, cap=2, ends="any", one_approval=True)
    yield Script(
        "approval-for-two-refused", create=("http-503-before", "invalid"), shots=3, cap=2, ends="any", one_approval=True
    )


def _sleepers() -> Iterator[Script]:
    for point in ("K2", "K5", "K8 bytes on the wire", "K9 head of the reply", "K10", "K12", "K15", "K18", "K20"):
        yield Script(f"asleep-at-{point.partition(' ')[0]}", pause=point)
    yield Script("two-doubts-of-four", create=("lost:after", "lost:before"), shots=4, cap=5, at_once=3)


def _sjinn() -> Iterator[Script]:
    for kind in (
        "ok",
        "lost:after",
        "lost:before",
        "http:502-after",
        "contradiction",
        "id:empty",
        "no-credit",
        "two-ids:top",
        "accepting:after",
        "told:429",
        "refusing:before",
    ):
        yield Script(f"sjinn-{kind.replace(':', '-')}", create=(kind,), provider="sjinn")
    yield Script("sjinn-failed", job=("failed",), provider="sjinn", ends="FAILED_FINAL")


CHEAPER, DEARER = Decimal("0.0007"), Decimal("0.00072")
"""USD a credit at which SJinn asks a little less, or a little more, than ShortAPI does."""


def _failover() -> Iterator[Script]:
    """A list of two: the second is asked only where the first one definitely refused, for a reason of its own."""

    def listed(name: str, *create: str, shots: int = 1, ends: str = "STORED", job: tuple[str, ...] = ()) -> Script:
        pair = {"also": ("sjinn",), "rate": CHEAPER, "cap": 3, "at_once": 1}
        return Script(f"failover-{name}", create=create, shots=shots, ends=ends, job=job, **pair)

    for kind in ("http:401", "http:402", "http:403", "http:404", "no-credit", "bad-key"):
        yield listed(kind.replace(":", "-"), kind, shots=2 if kind == "http:402" else 1)
    for kind in ("refused-connection", "proxy"):
        yield listed(kind, *(kind,) * 4)
    yield listed("http-429-for-years", "http:429-1000000000")
    yield listed("told-402", "told:402", ends="any")
    yield listed("then-lost", "http:402", "lost:after")
    yield listed("then-never-arrived", "http:402", "lost:before")
    yield listed("then-502", "http:401", "http:502-after")
    yield listed("then-refused-too", "http:402", "http:402")
    yield listed("then-odd", "no-credit", "contradiction")
    yield listed("then-failed", "http:402", job=("failed",), ends="FAILED_FINAL")
    yield listed("not-after-lost", "lost:after")
    yield listed("not-when-late", "lost:late")
    yield listed("not-after-502", "http:502-after")
    yield listed("not-after-acceptance-in-words", "accepting:after")
    yield listed("not-after-422", "http:422")
    yield listed("not-after-moderation", "moderation")
    yield listed("not-after-failed", job=("failed",), ends="FAILED_FINAL")
    other = {"provider": "sjinn", "also": ("shortapi",), "rate": DEARER, "at_once": 1}
    yield Script("failover-from-sjinn", create=("no-credit",), shots=2, **other)
    yield Script("failover-too-dear", create=("http:402",), also=("sjinn",), rate=DEARER, at_once=1)


FAMILIES: dict[str, tuple[Script, ...]] = {
    "nothing wrong": (Script("ok"), Script("two-shots", shots=2)),
    "lost creates": (*_lost_creates(),),
    "definite creates": (*_definite_creates(),),
    "odd accepts": (*_odd_accepts(),),
    "amounts": (*_amounts(),),
    "polls": (*_polls(),),
    "ends": (*_ends(),),
    "files": (*_files(),),
    "held clips": (*_held(),),
    "odd stores": (*_odd_stores(),),
    "ledger and store away": (*_away(),),
    "budgets": (*_budgets(),),
    "sleepers": (*_sleepers(),),
    "sjinn": (*_sjinn(),),
    "failover": (*_failover(),),
}
SCRIPTS: dict[str, Script] = {script.name: script for family in FAMILIES.values() for script in family}
FAMILY_OF = {script.name: name for name, family in FAMILIES.items() for script in family}
