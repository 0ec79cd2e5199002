"""Text with its mathematics kept, out of web pages, papers and notebooks.

An extractor is a function ``(data: bytes, *, name: str) -> Extracted`` (``llemma.extract.ledger``): it gets the bytes
of one file, never a path, so that the same function serves folders, archives and pipes. ``llemma.extract.files`` says
which extractor reads which file.
"""
