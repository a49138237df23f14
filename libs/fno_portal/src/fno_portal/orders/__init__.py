"""Orders: the store, the event log, and the use cases that never order twice."""
