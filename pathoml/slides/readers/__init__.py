"""Slide readers: one file each with `detect_format(path) -> bool` and
`open_slide(path) -> SlideReader`.

A new format is a new file here, named nowhere else: the reader with the highest `PRIORITY` that
knows a file opens it (docs/extend.md).
"""
