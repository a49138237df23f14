"""Operating system processes that Demarc owns: they die with it, and as root they run as a user without rights."""
