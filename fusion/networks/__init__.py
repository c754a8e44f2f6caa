"""The fusion methods, one file each; importing this package registers them all."""

from fusion.networks.average import Average
from fusion.networks.base import Convention, Network
from fusion.networks.cddfuse import CDDFuse
from fusion.networks.cpfusion import CPFusion
from fusion.networks.maximum import Maximum
from fusion.networks.ship import SHIP
from fusion.networks.swift import Swift

__all__ = ["SHIP", "Average", "CDDFuse", "CPFusion", "Convention", "Maximum", "Network", "Swift"]
