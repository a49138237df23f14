"""FreeRADIUS as the engine of network access: generated configuration, a supervised child process, its spool."""
