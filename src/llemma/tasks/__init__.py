"""Plug-ins that are benchmarks: one file, one benchmark.

A task is a file here with

- ``Options``: a frozen dataclass of its settings (every field with a default and ``metadata={"help": ...}``),
- ``load(options) -> Task``: the benchmark as a value. It raises DataError with the remedy when its data
  is not on this machine.
"""
