"""The ledger: every call is one short transaction that is durable when it returns."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa

from specs.money import USD, Money
from tasks.errors import Refused
from tasks.ledger import asking, audit, books, breakers, people, reading, recovery, reserving, schema, steps
from tasks.ledger.acceptance import accepted
from tasks.ledger.answers import REPLY, Answer, keep, vouched
from tasks.ledger.breakers import LAST_NAMED, unread
from tasks.ledger.database import PATIENCE, LedgerUnavailable, Prepared, micros_of, moment, rows_of, unwritable
from tasks.ledger.migrations import STEPS
from tasks.ledger.opening import Opened, forgive, open_ledger, read_journal
from tasks.ledger.plain import plain
from tasks.ledger.record import Record
from tasks.ledger.rows import (
    Approval,
    Artifact,
    Breaker,
    Cap,
    CapState,
    Event,
    Found,
    Full,
    Halted,
    Intent,
    IntentState,
    OpenRun,
    Order,
    PassedCap,
    Recovery,
    Replayed,
    Reservation,
    Reserved,
    Run,
    Totals,
    Vouch,
)
from tasks.ledger.transaction import Transaction
from tasks.seams import Clock, Rng

__all__ = ["PERMITS_SPENDING", "Ledger"]

PERMITS_SPENDING = frozenset({"reserve", "still_ours", "renew"})
"""What is called once and fails closed: its answer lets a create leave. All else reads, or records what is so already:
whoever waits for it calls it again while the ledger is away (`Production.patiently`)."""

_LEDGER = Prepared(sa.select(schema.ledger.c.schema_no))
_BEGIN = Prepared(
    sa.text(
        "INSERT INTO run (run_id, board, spec_sha256, digest, caps, approved_by, approval, begun_at, approval_id,"
        " attempt_of, owner, open_until) VALUES (:run_id, :board, :spec_sha256, :digest, :caps, :approved_by, :approval,"
        " :now, :approval_id, :attempt_of, :owner, :open_until)"
        " ON CONFLICT (run_id) DO UPDATE SET caps = excluded.caps, approved_by = excluded.approved_by,"
        " approval = excluded.approval, approval_id = excluded.approval_id, owner = excluded.owner,"
        " open_until = excluded.open_until, ended_at = NULL, exit_code = NULL"
        " WHERE run.board = excluded.board AND run.digest = excluded.digest"
    )
)
_APPROVE = Prepared(
    sa.text(
        "INSERT INTO approval (approval_id, board, digest, approved_by, reason, caps, shown, made_at)"
        " VALUES (:approval_id, :board, :digest, :approved_by, :reason, :caps, :shown, :now)"
        " ON CONFLICT (approval_id) DO NOTHING"
    )
)
_APPROVAL = Prepared(sa.select(schema.approval).where(schema.approval.c.approval_id == sa.bindparam("approval_id")))
_END_EARLIER = Prepared(
    sa.text(
        "UPDATE run SET ended_at = :now, exit_code = 130"
        " WHERE attempt_of = :attempt_of AND run_id <> :run_id AND ended_at IS NULL"
    )
)
_END = Prepared(sa.text("UPDATE run SET ended_at = :now, exit_code = :exit_code WHERE run_id = :run_id"))
_CLOSE = Prepared(
    sa.text("UPDATE run SET ended_at = :now, exit_code = 130 WHERE run_id = :run_id AND ended_at IS NULL")
)
_EPOCH = Prepared(sa.select(schema.intent.c.epoch).where(schema.intent.c.intent_id == sa.bindparam("intent_id")))
_DAY = 24 * 3600 * 1_000_000


class Ledger:
    """An open ledger. Calls block for milliseconds and may come from any thread.

    Every call may raise `LedgerUnavailable` (a `SetupProblem`): the database could not be used and nothing was written.
    Calls with an intent id raise `Refused` for one that the ledger does not have. Steps of the machine never raise for a
    row in another state: they tell an event and return the row as it is. Steps of a person raise `Refused`.
    """

    def __init__(self, opened: Opened, *, clock: Clock, rng: Rng, durable: bool) -> None:
        self._opened = opened
        self._database = opened.database
        self._clock = clock
        self._rng = rng
        self._durable = durable
        self._send_before: dict[str, float] = {}

    @classmethod
    def open(
        cls,
        url: str,
        *,
        home: Path,
        clock: Clock,
        rng: Rng,
        durable: bool = True,
        patience: float = PATIENCE,
    ) -> Self:
        """Open `sqlite:////path` or `postgresql://...`, with journal and locks in `home`; create it where none ever was.

        `durable=False` leaves out every fsync: for proofs only. `patience` is how many seconds a call waits for another
        writer. Answers that only the journal has are taken from it.

        Raises:
            SetupProblem: vanished, damaged, newer than this version, not private, on a network disk, or unreachable.
        """
        opened = open_ledger(url, home, clock=clock, rng=rng, durable=durable, patience=patience)
        return cls(opened, clock=clock, rng=rng, durable=durable)

    def close(self) -> None:
        """Let go of files, locks and connections, as the end of the process would."""
        self._opened.senders.close()
        self._opened.journal.close()
        self._database.close()

    @property
    def prompt(self) -> bool:
        """Whether a call is over at once: the ledger is a file, and nobody held it when it was last used."""
        return self._database.path is not None and not self._database.away

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._database.writing() as connection:
            lock = " FOR UPDATE" if self._database.dialect == "postgresql" else ""
            number = connection.exec_driver_sql(_LEDGER.on(self._database.dialect) + lock).scalar_one()
            if number != len(STEPS):
                raise LedgerUnavailable("a newer Rushes has migrated the ledger meanwhile", "Start this one again.")
            yield Transaction(connection, self._database.now(connection), self._rng)

    def _step(self, intent_id: str, step: Any, *arguments: Any, **options: Any) -> Intent:
        with self._writing() as tx:
            step(tx, intent_id, *arguments, **options)
            return tx.intent(intent_id)

    def _ended(self, intent_id: str, step: Any, *arguments: Any, **options: Any) -> Intent:
        """A step after which this process sends nothing more for the intent."""
        intent = self._step(intent_id, step, *arguments, **options)
        self._let_go(intent_id)
        return intent

    def _let_go(self, intent_id: str) -> None:
        self._send_before.pop(intent_id, None)
        self._opened.senders.release(intent_id)

    def recover(self, owner: str) -> Recovery:
        """Take what the journal knows, then put creates whose sender is gone in doubt; sends nothing. Linear."""
        with self._writing() as tx:
            done = read_journal(tx, self._opened, recreate=True)
            reason = recovery.recovery_of(tx)
            if reason.startswith(recovery.BEHIND) and not done.missing:
                recovery.set_recovery(tx, "", actor=owner)
                reason = ""
            doubts = recovery.orphans_to_doubt(tx, self._opened.senders.dead)
        return Recovery(tuple(doubts), tuple(done.replayed), tuple(done.recreated), reason)

    @property
    def ledger_id(self) -> str:
        """Which ledger this is: the same in every copy and backup of it."""
        return self._opened.ledger_id

    def halted(self) -> str:
        """Why the ledger is in RECOVERY, where no create is allowed; "" when it is not."""
        with self._database.reading() as connection:
            return str(connection.execute(sa.select(schema.ledger.c.recovery)).scalar_one())

    def reconcile(self, who: str, why: str) -> None:
        """A person vouches for a ledger in RECOVERY that nothing else can prove complete."""
        with self._writing() as tx:
            facts = forgive(tx, self._opened, who, why)
        self._opened.home.mark(facts, durable=self._durable)

    def adopt(self, found: Found, who: str, why: str) -> bool:
        """Take over what a slip knows and the ledger does not, its money past any cap; whether that was anything."""
        with self._writing() as tx:
            return recovery.adopt(tx, found, who, why)

    def begin_run(
        self,
        run_id: str,
        *,
        board: str,
        spec_sha256: str,
        digest: str,
        caps: Sequence[Cap],
        approved_by: Literal["auto", "person"],
        approval: str,
        approval_id: str = "",
        attempt_of: str = "",
        owner: str = "",
        flow_run: Mapping[str, str] | None = None,
    ) -> None:
        """Record a run before its first reservation; its caps hold for every order of it. Again for a run that goes on.

        It rests on the approval with `approval_id`, else on one of its own, without a cap. It is open to reservations until
        it is ended; with an `owner` only while that one keeps up its `heartbeat`. Earlier runs with the same `attempt_of`
        are over with this one. `flow_run` names the `flow_run` and the `deployment` by which it may be called off.

        Raises:
            Refused: the id belongs to a run of another board or digest.
        """
        facts = {"board": board, "spec_sha256": spec_sha256, "digest": digest, "approved_by": approved_by}
        with self._writing() as tx:
            if not approval_id:
                approval_id = run_id
                _approve(tx, Approval(approved_by, approval, (), run_id, board, digest))
            row = {**facts, "run_id": run_id, "caps": reserving.caps_text(caps), "approval": approval, "now": tx.now}
            row |= {"approval_id": approval_id, "attempt_of": attempt_of, "owner": owner}
            row["open_until"] = tx.now + reserving.LEASE if owner else None
            if not tx.run(_BEGIN, row):
                raise Refused(f"run {run_id} was begun with another plan", "Start a new run.")
            if attempt_of:
                tx.run(_END_EARLIER, {"attempt_of": attempt_of, "run_id": run_id, "now": tx.now})
            tx.event("", "run-begun", {**facts, "run_id": run_id, "approval": approval, "approval_id": approval_id})
            if flow_run:
                tx.event(run_id, reading.FLOW_RUN, flow_run)

    def approve(self, approval: Approval) -> Approval:
        """Record an approval; one with its id that is there already is not changed. Returns it as it is recorded."""
        wanted = replace(approval, approval_id=approval.approval_id or self._rng.new_id())
        with self._writing() as tx:
            _approve(tx, wanted)
            recorded = reading.approval_of(tx.rows(_APPROVAL, approval_id=wanted.approval_id)[0])
        return replace(recorded, attempt_of=approval.attempt_of)

    def approval(self, *, digest: str = "", attempt_of: str = "") -> Approval | None:
        """What was approved under a digest (its first digits do), or for the newest attempt of a flow run; None if nothing."""
        with self._database.reading() as connection:
            return reading.approval(connection, digest=digest, attempt_of=attempt_of)

    def closed(self, run_id: str, owner: str) -> str:
        """Why `owner` may buy nothing for a run; "" while it may.

        Raises:
            Refused: there is no such run.
        """
        with self._database.reading() as connection:
            return reserving.closed(Transaction(connection, self._database.now(connection), self._rng), run_id, owner)

    def end_run(self, run_id: str, exit_code: int) -> None:
        """Record how the run ended."""
        with self._writing() as tx:
            tx.run(_END, {"run_id": run_id, "exit_code": exit_code, "now": tx.now})
            tx.event("", "run-ended", {"run_id": run_id, "exit_code": exit_code})

    def open_runs(self) -> list[OpenRun]:
        """The runs that nobody has ended and that a deployment's flow run began."""
        with self._database.reading() as connection:
            return reading.open_runs(connection, self._database.now(connection))

    def close_run(self, run_id: str, why: str) -> bool:
        """End a run for the process that makes it: nobody buys anything for it any more. False where it had ended."""
        with self._writing() as tx:
            closed = bool(tx.run(_CLOSE, {"run_id": run_id, "now": tx.now}))
            if closed:
                tx.event("", "run-ended", {"run_id": run_id, "exit_code": 130, "why": why})
        return closed

    def tell(self, about: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Append a fact about what is no intent, such as a part of a run; `events` has it under that name."""
        with self._writing() as tx:
            tx.event(about, kind, payload)

    def run(self, run_id: str) -> Run | None:
        """A run, or None."""
        with self._database.reading() as connection:
            return reading.run_of(connection, run_id)

    def reserve(self, order: Order) -> Reservation:
        """K2 to K5: the money and the shot in one transaction, or what stands in the way; durable before it returns.

        Raises:
            LedgerUnavailable: nothing may be sent.
        """
        intent_id = order.intent_id or self._rng.new_id()
        self._opened.senders.hold(intent_id)
        try:
            with self._writing() as tx:
                record = reserving.reserve(tx, replace(order, intent_id=intent_id))
        except reserving.NotReserved as stop:
            self._opened.senders.release(intent_id)
            return stop.outcome
        except BaseException:
            self._opened.senders.release(intent_id)
            raise
        self._write_down(record)
        self._send_before[intent_id] = self._clock.monotonic() + reserving.NOT_AFTER / 1e6
        return Reserved(record.public())

    def withdraw(self, intent_id: str) -> Intent | None:
        """Take back a reservation that may have been committed before the ledger went away; None where it was not.

        Only the process that asked for it may say so, and only before it has sent anything.
        """
        with self._writing() as tx:
            found = tx.rows(_EPOCH, intent_id=intent_id)
            if found:
                steps.cancelled(tx, intent_id, found[0][0])
            intent = tx.intent(intent_id) if found else None
        self._let_go(intent_id)
        return intent

    def _write_down(self, record: Record) -> None:
        """The journal knows of every purchase before it can be sent; one that it cannot take is never sent."""
        try:
            self._opened.journal.append({"row": record.values()})
        except OSError as error:
            self.cancelled(record.intent_id, record.epoch)
            raise self._unwritten(error) from None

    def _unwritten(self, error: OSError) -> LedgerUnavailable:
        """What keeps the journal from taking a line."""
        return unwritable(self._opened.home.file(".journal"), error)

    def still_ours(self, intent_id: str, epoch: int) -> bool:
        """K6: this object reserved it, by both clocks there is time left, its run is open, and no breaker has opened meanwhile."""
        if self._clock.monotonic() >= self._send_before.get(intent_id, float("-inf")):
            return False
        with self._database.reading() as connection:
            tx = Transaction(connection, self._database.now(connection), self._rng)
            record = tx.load(intent_id)
            ours = record.state == IntentState.SUBMITTING and record.epoch == epoch and tx.now < record.not_after
            account = (record.run_id, record.provider, record.account)
            ours = ours and not reserving.closed(tx, record.run_id, record.lease_owner)
            return ours and not recovery.recovery_of(tx) and not breakers.obstacle(tx, *account, intent_id=intent_id)

    def renew(self, intent_id: str, epoch: int) -> Intent:
        """Before a resend after a definite refusal: a new lease and `not_after`. Ask `still_ours` afterwards."""
        intent = self._step(intent_id, steps.renew, epoch)
        if intent_id in self._send_before and intent.state is IntentState.SUBMITTING and intent.epoch == epoch:
            self._send_before[intent_id] = self._clock.monotonic() + reserving.NOT_AFTER / 1e6
        return intent

    def announced(self, intent_id: str, epoch: int, slip: str) -> Intent:
        """The order's slip stands in the store at `slip`: the time to send it begins anew. Ask `still_ours` afterwards."""
        intent = self._step(intent_id, steps.announced, epoch, slip)
        if intent_id in self._send_before and intent.state is IntentState.SUBMITTING and intent.epoch == epoch:
            self._send_before[intent_id] = self._clock.monotonic() + reserving.NOT_AFTER / 1e6
        return intent

    def slip_told(self, intent_id: str, slip: str, state: str) -> Intent:
        """What the slip in the store now says of the order; "" where nobody knows whether it is there."""
        return self._step(intent_id, steps.slip_told, slip, state)

    def heartbeat(self, owner: str) -> None:
        """Extend the leases of the creates that `owner` has under way, and of the run that it holds; due every 15 s."""
        with self._writing() as tx:
            steps.heartbeat(tx, owner)

    def note(self, intent_id: str, kind: str, payload: Mapping[str, Any], actor: str = "machine") -> None:
        """Append a fact; kind `alert` needs a person's eye."""
        with self._writing() as tx:
            tx.event(tx.load(intent_id).intent_id, kind, payload, actor=actor, alert=kind == "alert")

    def journal_answer(
        self, intent_id: str, body_sha256: str, job_id: str | None, answer: Answer | None = None
    ) -> None:
        """K11: the answer to a create, outside the database; on a full disk in the megabyte set aside for it.

        `job_id` is the job that the provider gave plainly; `answer` all that it said, so that recovery books the same.

        Raises:
            LedgerUnavailable: neither could be written.
        """
        line = {"intent_id": intent_id, "body_sha256": body_sha256, "job_id": job_id}
        try:
            self._opened.journal.append(line if answer is None else {**line, "answer": answer.facts()})
        except OSError as error:
            raise self._unwritten(error) from None

    def forsake(self, intent_id: str) -> None:
        """This process sends nothing more for the intent and does not know what came of it: `recover` may take it up."""
        self._send_before.pop(intent_id, None)
        self._opened.senders.abandon(intent_id)

    def accepted(
        self, intent_id: str, job_id: str, amount: Money | None, note: str = "", answer: Answer | None = None
    ) -> Intent:
        """K13, never fenced. Returns the intent that holds the job: another one where this had a job already (F53).

        `answer` is kept where it names further jobs, until queries have confirmed or refuted them.
        """
        with self._writing() as tx:
            holder = accepted(tx, intent_id, job_id, amount, note)
            if answer is not None and answer.candidates:
                keep(tx, tx.load(intent_id), answer)
            intent = tx.intent(holder)
        self._let_go(intent_id)
        return intent

    def rejected(self, intent_id: str, epoch: int, *, kind: str, reason: str, opens_breaker: bool) -> Intent:
        """Definitely not accepted: REJECTED, the money released."""
        return self._ended(intent_id, steps.rejected, epoch, kind=kind, reason=reason, opens_breaker=opens_breaker)

    def doubt(self, intent_id: str, epoch: int | None, reason: str, answer: Answer | None = None) -> Intent:
        """The outcome is unknown: IN_DOUBT, the money stays reserved; `answer` is the odd reply, where one came."""
        return self._ended(intent_id, steps.doubt, epoch, reason, answer)

    def cancelled(self, intent_id: str, epoch: int, reason: str = "") -> Intent:
        """Certainly never sent: CANCELLED, the money released."""
        return self._ended(intent_id, steps.cancelled, epoch, reason)

    def succeeded(self, intent_id: str, urls: Sequence[str], cost: Money | None) -> Intent:
        """The provider is done; also fresh addresses for a result that could not be fetched."""
        return self._step(intent_id, steps.succeeded, urls, cost)

    def named(self, intent_id: str, amount: Money | None, source: str, note: str = "") -> Intent:
        """What `source` says that the job costs: a fact at any time; the last one counts. `note`: what is wrong with it."""
        return self._step(intent_id, steps.named, amount, source, note)

    def failed(self, intent_id: str, reason: str, *, refunded: bool | None, moderated: bool = False) -> Intent:
        """The provider says failed: FAILED_UNSETTLED, or FAILED_FINAL at 0 when it says refunded."""
        return self._step(intent_id, steps.failed, reason, refunded=refunded, moderated=moderated)

    def stalled(self, intent_id: str, reason: str) -> Intent:
        """Longer than any job should take: left to slow polls."""
        return self._step(intent_id, steps.stalled, reason)

    def resumed(self, intent_id: str) -> Intent:
        """A stalled job moves again."""
        return self._step(intent_id, steps.resumed)

    def held(self, intent_id: str, reason: str) -> Intent:
        """Paid, but cannot be fetched or read: RESULT_HELD."""
        return self._step(intent_id, steps.held, reason)

    def claim(self, intent_id: str, tries: int, pause: float) -> Intent | None:
        """Claim one question after a job, the next one `pause` seconds later; None where another has asked meanwhile."""
        with self._writing() as tx:
            return tx.intent(intent_id) if asking.claim(tx, intent_id, tries, pause) else None

    def gone(self, intent_id: str, why: str) -> Intent:
        """The provider says for good that there is no clip: the job is no longer asked after by itself."""
        return self._step(intent_id, asking.gone, why)

    def asked_after(self) -> list[Intent]:
        """Every purchase whose clip may still come, whatever was decided about its shot, oldest first."""
        with self._database.reading() as connection:
            since = self._database.now(connection) - int(asking.WEEK.total_seconds()) * 1_000_000
            return reading.asked_after(connection, since)

    def stored(self, intent_id: str, artifact: Artifact, billed: Money | None) -> Intent:
        """K20: the clip is published and verified; settles `billed`, else the amount, else the quote."""
        return self._step(intent_id, steps.stored, artifact, billed)

    def settle_failed(self, now: dt.datetime | None = None) -> list[str]:
        """Failures older than 24 h without a refund become final at the full quote; their intent ids."""
        with self._writing() as tx:
            return steps.settle_failed(tx, (tx.now if now is None else micros_of(now)) - _DAY)

    def settle(self, intent_id: str, billed: Money, evidence: str, who: str) -> Intent:
        """A person says what was billed: put it in place of what was assumed, or confirm it."""
        return self._step(intent_id, people.settle, billed, evidence, who)

    def refund(self, intent_id: str, amount: Money, evidence: str, who: str = "machine") -> Intent:
        """Money came back; each `evidence` counts once."""
        return self._step(intent_id, people.refund, amount, evidence, who)

    def attach(self, intent_id: str, job_id: str, who: str, why: str, *, confirmed: bool) -> Intent:
        """A person names the job of a doubt; `confirmed` by a query with our key."""
        return self._step(intent_id, people.attach, job_id, who, why, confirmed=confirmed)

    def absent(self, intent_id: str, who: str, why: str, evidence: str, horizon_seconds: float) -> Intent:
        """Transition 5: proved not to exist, `horizon_seconds` after it could last be sent."""
        dead = self._opened.senders.dead(intent_id)
        horizon = round(horizon_seconds * 1_000_000)
        return self._step(intent_id, people.absent, who, why, evidence, horizon=horizon, sender_dead=dead)

    def vouch(self, intent_id: str, kind: str, who: str, why: str) -> Intent:
        """A person says that the refusal of this doubt is definite: it settles every doubt with the same one, then and later."""
        return self._step(intent_id, people.vouch, kind, who, why)

    def take_back_vouch(self, intent_id: str, who: str, why: str) -> Intent:
        """From now on the refusal of this intent is a doubt again; what was settled stays."""
        return self._step(intent_id, people.take_back_vouch, who, why)

    def vouched(self, provider: str, code: str, text: str) -> str:
        """The kind of refusal that somebody has vouched for; "" where nobody has."""
        with self._database.reading() as connection:
            found = vouched(Transaction(connection, self._database.now(connection), self._rng), provider, code, text)
        return found[0] if found else ""

    def vouches(self) -> list[Vouch]:
        """Every refusal that is vouched for now, oldest first."""
        with self._database.reading() as connection:
            return reading.vouches(connection)

    def write_off(self, intent_id: str, who: str, why: str) -> Intent:
        """ABANDONED: given up and counted as spent in full."""
        return self._step(intent_id, people.write_off, who, why)

    def supersede(self, intent_id: str, who: str, why: str) -> Intent:
        """SUPERSEDED: the shot may be bought anew; out of a doubt this may pay twice."""
        return self._step(intent_id, people.give_up, who, why)

    def close_breaker(self, provider: str, account: str, who: str, why: str) -> None:
        """A person lets creates at the account go on."""
        with self._writing() as tx:
            breakers.close_by_person(tx, provider, account, who, why)

    def creates_halted(self, run_id: str, provider: str, account: str) -> str:
        """Why `run_id` may not create at the account now; "" when it may."""
        with self._database.reading() as connection:
            tx = Transaction(connection, self._database.now(connection), self._rng)
            stop = breakers.obstacle(tx, run_id, provider, account)
            match stop:
                case Halted(reason):
                    return reason
                case Full() | None:
                    return recovery.recovery_of(tx)

    def find(self, shot_key: str) -> Intent | None:
        """The row that decides reuse: the live one, else the newest with a clip, else the newest."""
        with self._database.reading() as connection:
            return reading.find(connection, shot_key)

    def live_for_shot(self, board: str, shot: str, family: str) -> Intent | None:
        """The row that holds the shot, whatever its content."""
        with self._database.reading() as connection:
            return reading.live_for_shot(connection, board, shot, family)

    def takes(self, board: str, shot: str) -> list[int]:
        """Take numbers of the shot whose file is there or may come."""
        with self._database.reading() as connection:
            return reading.takes(connection, board, shot)

    def slips(self, board: str | None = None, *, ended: bool = False) -> set[str]:
        """Where the store announces this ledger's orders; with `ended` only of those about which nothing is open."""
        with self._database.reading() as connection:
            return reading.slips(connection, board, ended=ended)

    def slips_behind(self) -> list[Intent]:
        """Intents whose slip does not tell yet that they have a job, or how they ended; oldest first."""
        with self._database.reading() as connection:
            return reading.slips_behind(connection)

    def known(self, intent_id: str) -> Intent | None:
        """One intent, or None."""
        with self._database.reading() as connection:
            return reading.known(connection, intent_id)

    def get(self, intent_id: str) -> Intent:
        """One intent."""
        with self._database.reading() as connection:
            return reading.get(connection, intent_id)

    def by_job(self, provider: str, job_id: str, account: str | None = None) -> Intent | None:
        """The intent of a provider's job; of any account where none is named."""
        with self._database.reading() as connection:
            return reading.by_job(connection, provider, job_id, account)

    def intents(
        self,
        *,
        run_id: str | None = None,
        board: str | None = None,
        shot: str | None = None,
        provider: str | None = None,
        states: Collection[IntentState] | None = None,
        since: dt.datetime | None = None,
    ) -> list[Intent]:
        """Intents that match, oldest first."""
        after = None if since is None else micros_of(since)
        filters = {
            "run_id": run_id,
            "board": board,
            "shot": shot,
            "provider": provider,
            "states": states,
            "since": after,
        }
        with self._database.reading() as connection:
            return reading.intents(connection, **filters)

    def doubts(self) -> list[Intent]:
        """Every intent whose outcome is unknown."""
        return self.intents(states={IntentState.IN_DOUBT})

    def unconfirmed_bills(self) -> list[Intent]:
        """Every intent whose bill is above 1.25 times its quote, or cannot be read, and that no person has settled yet."""
        with self._database.reading() as connection:
            return reading.unconfirmed_bills(connection)

    def unread_bill(self, intent_id: str) -> str:
        """What was wrong with the amount that the provider named last, "" where it was usable."""
        with self._database.reading() as connection:
            return unread(rows_of(connection, LAST_NAMED, {"intent_id": intent_id}))

    def totals(
        self,
        *,
        run_id: str | None = None,
        board: str | None = None,
        day: str | None = None,
        month: str | None = None,
        provider: str | None = None,
    ) -> Totals:
        """What was quoted, is reserved, in doubt and settled; `day` as 2026-03-01 and `month` as 2026-03, of the order."""
        filters = {"run_id": run_id, "board": board, "day": day, "month": month, "provider": provider}
        with self._database.reading() as connection:
            return reading.totals(connection, **filters)

    def caps(self, scope: str | None = None, key: str | None = None) -> list[CapState]:
        """Buckets with their limits and what is committed."""
        with self._database.reading() as connection:
            return reading.cap_states(connection, scope, key)

    def passed_caps(self, caps: Sequence[Cap] = ()) -> list[PassedCap]:
        """Caps that bills have passed, until a person has confirmed these or raised the cap; `caps` are those in force now."""
        with self._database.reading() as connection:
            return reading.passed_caps(connection, caps)

    def raise_limits(self, caps: Sequence[Cap]) -> None:
        """Record caps that a person has raised since a bill passed them."""
        with self._writing() as tx:
            reserving.raise_limits(tx, caps)

    def committed(self, cap: Cap, rates: Mapping[str, Decimal] | None = None) -> Money:
        """What counts against `cap` now, in its unit; today's or this month's bucket for `day`, `auto` and `month`.

        Raises:
            Refused: a cap in USD, and orders of which neither they nor `rates` name a rate.
        """
        with self._database.reading() as connection:
            today = moment(self._database.now(connection)).date().isoformat()
            key = {"day": today, "month": today[:7], "auto": today}.get(cap.scope, cap.key)
            states = reading.cap_states(connection, cap.scope, key)
            unrated = reading.unrated(connection) if cap.limit.unit == USD else []
        beside, unknown = books.unrated(unrated, cap.scope, key, rates or {})
        if unknown:
            raise Refused(f"the {cap.scope} cap of {cap.limit} is in USD, and {unknown}", books.RATE_IT)
        found = [state.committed for state in states if state.committed.unit == cap.limit.unit]
        return (found[0] if found else Money(0, cap.limit.unit)) + Money(beside, cap.limit.unit)

    def breaker_state(self, provider: str, account: str) -> Breaker | None:
        """The account's open breaker, `money` before `create`; None when creates are free."""
        with self._database.reading() as connection:
            open_ones = [one for one in reading.breakers(connection, provider, account) if one.is_open]
        return open_ones[-1] if open_ones else None

    def events(self, intent_id: str | None = None) -> list[Event]:
        """Facts in their order, of one intent or all."""
        with self._database.reading() as connection:
            return reading.events(connection, intent_id=intent_id)

    def hints(self, intent_id: str) -> list[Event]:
        """What callbacks said of the intent, oldest first."""
        with self._database.reading() as connection:
            return reading.events(connection, intent_id=intent_id, kind=reading.HINT)

    def replies(self) -> list[Event]:
        """What odd replies to creates said, oldest first; see `answers.Answer`."""
        with self._database.reading() as connection:
            return reading.events(connection, kind=REPLY)

    def hints_after(self, mark: int | None) -> tuple[int, list[str]]:
        """A mark for the next call, and the intents that callbacks named since `mark` (None: from now on)."""
        with self._database.reading() as connection:
            if mark is None:
                return reading.newest_event(connection), []
            found = reading.events(connection, kind=reading.HINT, after=mark)
        return found[-1].seq if found else mark, [event.intent_id for event in found]

    def alerts(self, run_id: str) -> list[Event]:
        """Facts about a run's intents that need a person's eye."""
        with self._database.reading() as connection:
            return reading.events(connection, alerts_of_run=run_id)

    def rows(self, run_id: str | None = None, *, since: dt.datetime | None = None) -> list[dict[str, Any]]:
        """Intents as plain values for cost reports: money as decimal strings, `usd` at the order's rate."""
        return [plain(intent) for intent in self.intents(run_id=run_id, since=since)]

    def money(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Money entries as plain values, oldest first."""
        with self._database.reading() as connection:
            return reading.money_entries(connection, run_id)

    def verify(self) -> list[str]:
        """What is wrong with the ledger (I3, I6, state against money); empty when it is sound."""
        with self._database.reading() as connection:
            return audit.verify(connection)

    def replay(self) -> dict[str, Replayed]:
        """Every intent as its facts alone tell it (I6)."""
        with self._database.reading() as connection:
            return audit.replay(connection)


def _approve(tx: Transaction, approval: Approval) -> None:
    facts = {"approval_id": approval.approval_id, "board": approval.board, "digest": approval.digest}
    facts |= {"approved_by": approval.by, "reason": approval.reason, "caps": reserving.amounts_text(approval.caps)}
    if tx.run(_APPROVE, {**facts, "shown": approval.shown, "now": tx.now}):
        tx.event("", "approved", facts)
