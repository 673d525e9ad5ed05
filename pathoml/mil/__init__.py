"""MIL heads: one file each with a class `Head(nn.Module)`; a head knows bags and nothing of folds,
stacks or patients.

A new head is a new file here, named nowhere else (docs/extend.md). Head(in_dim, hidden, dropout) is
built once a model. `forward(features (B, N, D), is_tile (B, N) bool) -> HeadOutput`, where padding
never changes the result. `Head.exact` says whether contribution.sum(1) + bias == log_risk.
"""
