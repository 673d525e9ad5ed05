"""Step `explain`: what each tile contributed to the risk, tested for faithfulness and drawn; writes
runs/RUN/attention/.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
