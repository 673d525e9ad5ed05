"""CPU seconds of all statistics of `evaluate`, permutations left out: python
benchmarks/evaluate_time.py [patients] [bootstraps]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.score_study import write_score_study

from pathoml.evaluation.discrimination import write_analysis
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics

if __name__ == "__main__":
    patients, bootstraps = (int(a) for a in (sys.argv[1:] + ["246", "1000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        study = write_score_study(Path(folder), n=patients, significance={"bootstraps": bootstraps})
        cpu, wall = time.process_time(), time.monotonic()
        evidence = read_evidence(study)
        content = metrics(evidence)
        write_analysis(evidence, content["tau_months"])
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{patients} patients, {bootstraps} draws: {cpu:.1f} CPU s, {wall:.1f} s wall on a shared"
        f" machine, {memory:.2f} GB"
    )
