"""What is ordered of a NAS and what came of it: the words of the port that this adapter serves."""

from __future__ import annotations

from demarc.modules.access.ports import SESSION_CONTEXT_NOT_FOUND, CoaOrder, CoaReply

__all__ = ["SESSION_CONTEXT_NOT_FOUND", "CoaOrder", "CoaReply"]
