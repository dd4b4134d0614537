"""The development stack: a real Airflow and the local AWS endpoint, started, watched and ended as one thing.

Run as ``python -m tools.stack run|up|down|status``. The parts, from the outside in: ``cli`` (commands),
``rehearsal`` (`run`), ``standing`` (`up`, `down`, `status`), ``launch`` (starts the components in order),
``supervision`` (the front's end of the guardian), ``guardian`` (the process that owns all others, and starts again what
ends), ``keeper`` (the process between the guardian and one component).
"""
