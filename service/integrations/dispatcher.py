"""Delivers events beside a worker: looks into the outbox, sends what is due, notes what came."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy.exc import OperationalError

from service.integrations import queue, signing
from service.integrations.addresses import Policy
from service.integrations.queue import Claimed
from service.integrations.sending import Answer, post
from service.kit.database import utcnow
from service.kit.parts import Parts

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
AT_ONCE = 8
Send = Callable[[Claimed], Answer]


def send(claimed: Claimed, policy: Policy) -> Answer:
    """One attempt, signed as of now."""
    stamp = int(utcnow().timestamp())
    headers = signing.headers(claimed.secrets, claimed.event_id, stamp, claimed.body)
    return post(claimed.url, claimed.body, {"Content-Type": "application/json", **headers}, policy)


class Dispatcher:
    """Looks every second, in a thread of its own; sends in up to eight others.

    At least once: a worker that dies between sending and noting sends again, under the same
    ``webhook-id``, by which a receiver knows it.
    """

    def __init__(self, parts: Parts, sender: Send | None = None) -> None:
        policy = Policy.of(parts.settings)
        self._parts = parts
        self._send = sender or (lambda claimed: send(claimed, policy))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._busy: set[str] = set()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking and wait for what is being sent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def look(self) -> int:
        """Send everything that is due, here and now, one after the other; returns how many."""
        claimed = self._claim()
        for one in claimed:
            self._attempt(one)
        return len(claimed)

    def _run(self) -> None:
        while not self._stop.is_set():
            found = 0
            try:
                for one in self._claim():
                    found += 1
                    self._busy.add(one.webhook_id)
                    self._pool.submit(self._attempt, one)
            except OperationalError as error:
                log.warning("could not look for events", error=str(error.orig))
            except Exception:
                log.exception("webhooks stumbled")  # the next look comes
            self._stop.wait(LOOK_EVERY_S / 10 if found else LOOK_EVERY_S)

    def _claim(self) -> list[Claimed]:
        database, now = self._parts.database, utcnow()
        with database.reading() as session:
            waiting, due = queue.has_waiting(session), queue.has_due(session, now)
        if waiting:
            with database.writing() as session:
                queue.fan_out(session, now)
        if not (waiting or due):
            return []
        with database.writing() as session:
            return queue.claim(session, now, self._busy.copy())

    def _attempt(self, claimed: Claimed) -> None:
        try:
            answer = self._send(claimed)
            with self._parts.database.writing() as session:
                queue.settle(session, claimed, answer, utcnow())
            if not answer.succeeded:
                log.info("webhook not delivered", delivery=claimed.id, error=answer.error)
        except Exception:
            log.exception("webhook attempt lost", delivery=claimed.id)  # due again by itself
        finally:
            self._busy.discard(claimed.webhook_id)
