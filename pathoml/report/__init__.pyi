"""Step `report`: one self-contained page, runs/RUN/report.html."""

from .page import write_report

__all__ = [
    "write_report",
]
