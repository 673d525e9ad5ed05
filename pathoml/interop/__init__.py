"""Exchange formats: one file each with `import_into(study, source)`, `export_to(study, target)`,
or both, that return an `Exchange`.

A new format is a new file here, named nowhere else (docs/extend.md).
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
