"""The fault harness: a real stack on PostgreSQL whose processes are killed, paused and cut off while models run."""
