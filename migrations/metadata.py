"""Every table of the service, in one metadata."""

from service.archive import tables as _archive  # noqa: F401
from service.assays import tables as _assays  # noqa: F401
from service.assays.field_maps import tables as _field_maps  # noqa: F401
from service.assays.uploads import tables as _uploads  # noqa: F401
from service.batches import tables as _batches  # noqa: F401
from service.campaigns import tables as _campaigns  # noqa: F401
from service.cell_lines import tables as _cell_lines  # noqa: F401
from service.compounds import tables as _compounds  # noqa: F401
from service.datasets import tables as _datasets  # noqa: F401
from service.integrations import tables as _integrations  # noqa: F401
from service.kit.audit import tables as _audit  # noqa: F401
from service.kit.auth import tables as _auth  # noqa: F401
from service.kit.database import Base
from service.kit.idempotency import tables as _idempotency  # noqa: F401
from service.kit.jobs import tables as _jobs  # noqa: F401
from service.kit.outbox import tables as _outbox  # noqa: F401
from service.learning import tables as _learning  # noqa: F401
from service.plates import tables as _plates  # noqa: F401
from service.surfaces import tables as _surfaces  # noqa: F401
from service.triage import tables as _triage  # noqa: F401

metadata = Base.metadata
