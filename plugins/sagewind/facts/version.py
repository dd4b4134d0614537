"""The version of this code: of the wheel, and of the job programs that a run has uploaded."""

VERSION = "0.2.0"
