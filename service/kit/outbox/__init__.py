"""What happened, written in the transaction of the change, for others to be told of.

    emit(session, "batch.accepted", batch, round=batch.round)

Nothing is sent here: who delivers events reads them after the commit, so an event exists if and
only if its change does.
"""

from service.kit.outbox.emitting import emit
from service.kit.outbox.tables import OutboxEvent

__all__ = ["OutboxEvent", "emit"]
