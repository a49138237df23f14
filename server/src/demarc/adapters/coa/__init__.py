"""Orders to a NAS while a session runs: disconnect it, or change what it may do (RFC 5176)."""

from demarc.adapters.coa.client import RETRANSMIT_AFTER, CoaClient, open_client
from demarc.modules.access.ports import SESSION_CONTEXT_NOT_FOUND, CoaOrder, CoaReply

__all__ = [
    "RETRANSMIT_AFTER",
    "SESSION_CONTEXT_NOT_FOUND",
    "CoaClient",
    "CoaOrder",
    "CoaReply",
    "open_client",
]
