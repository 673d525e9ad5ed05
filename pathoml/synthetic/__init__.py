"""A synthetic multi-centre sarcoma cohort with known truth: slides that pass for H&E at a first
glance, and an outcome.
"""
