"""What the networks learn from, one file per method; importing this package registers every objective."""

from fusion.objectives.base import Batch, Objective
from fusion.objectives.cddfuse import CDDFuseFusion, CDDFuseReconstruction
from fusion.objectives.scores import ScoresObjective
from fusion.objectives.ship import SHIPObjective
from fusion.objectives.swift import SwiftObjective

__all__ = [
    "Batch",
    "CDDFuseFusion",
    "CDDFuseReconstruction",
    "Objective",
    "SHIPObjective",
    "ScoresObjective",
    "SwiftObjective",
]
