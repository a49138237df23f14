"""E-mail: SMTP out, and the sandbox's own trap."""
