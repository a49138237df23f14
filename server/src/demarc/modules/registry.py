"""Every module's tables, so that the metadata is complete: migrations, guards and tests start here."""

from __future__ import annotations

from sqlalchemy import MetaData

from demarc.kernel import tables as _kernel_tables  # noqa: F401 - declares its tables
from demarc.kernel.schema import metadata
from demarc.modules.access import models as _access  # noqa: F401
from demarc.modules.addressing import models as _addressing  # noqa: F401
from demarc.modules.audit import models as _audit  # noqa: F401
from demarc.modules.billing import models as _billing  # noqa: F401
from demarc.modules.catalog import models as _catalog  # noqa: F401
from demarc.modules.customers import models as _customers  # noqa: F401
from demarc.modules.dunning import models as _dunning  # noqa: F401
from demarc.modules.identity import models as _identity  # noqa: F401
from demarc.modules.notifications import models as _notifications  # noqa: F401
from demarc.modules.services import models as _services  # noqa: F401
from demarc.modules.subscriptions import models as _subscriptions  # noqa: F401
from demarc.modules.tenants import models as _tenants  # noqa: F401
from demarc.modules.usage import models as _usage  # noqa: F401


def complete_metadata() -> MetaData:
    """The metadata with every table of the platform."""
    return metadata
