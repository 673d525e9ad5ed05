"""Survival statistics, each checked against R `survival`: one subject a file, numpy and scipy."""
