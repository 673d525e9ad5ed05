"""The pathologist's viewer: slides, maps and candidate features in the browser, served on this
machine only.
"""
