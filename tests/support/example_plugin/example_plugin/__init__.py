"""A package with one plug-in of each kind, laid out as pip installs it: the folder above, on the
path, is an installed distribution.
"""
