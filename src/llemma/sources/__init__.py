"""Plug-ins that yield documents.

A source is a file here with

- ``Options``: a frozen dataclass of its settings (every field with a default and ``metadata={"help": ...}``),
- ``documents(options) -> Iterator[Document]``: deterministic, in a fixed order, ids unique within the source,
- and, where the input has parts (files, archives), ``parts(options) -> list[Options]``: settings of the same source
  that yield, one after the other, the same documents. Parts are read by several processes, and a killed build resumes
  at them.

Where some input has no text or is not wanted, ``documents(options, dropped)`` counts the reasons in the ``Counter`` it
is handed: every document is accounted for. A source that reads folders has ``stamps(options)``, the id of each file (as
in ``options.only``) with its size and time: by them a build that goes on knows that its input has changed. Input that
is not on this machine is ``NotHere``.

A source reads; it does not filter for quality. Dropping with a reason is the corpus pipeline's work.
"""
