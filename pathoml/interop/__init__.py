"""Exchange formats: one file each with `import_into(study, source)`, `export_to(study, target)`, or
both.

`import_into(study: Study, source: Path) -> Exchange` turns what another tool wrote into tiles/ and
embeddings/ (or scores) of the study. `export_to(study: Study, target: Path) -> Exchange` writes a
run, or the study's embeddings, as another tool reads them, below the folder `target`. A slide that
cannot be exchanged is a sentence in `failures`; the others are done.
"""
