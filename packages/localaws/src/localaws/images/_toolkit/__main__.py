"""Runs one program of an image: `train`, `serve` or `process` hands its own name over as PROGRAM (see there)."""

from container_toolkit import programs

programs.main(globals()["PROGRAM"])
