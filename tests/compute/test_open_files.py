"""The limit of open files is raised to what the machine allows."""

from __future__ import annotations

import resource

import pytest

from pathoml.compute.open_files import raise_open_files


@pytest.mark.parametrize("soft", [64, 1024])
def test_the_soft_limit_becomes_the_hard_one(soft):
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        assert raise_open_files() == min(hard, 2**20) == raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
