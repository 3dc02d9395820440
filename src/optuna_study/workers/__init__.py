"""Workers: one, and many on this machine."""
