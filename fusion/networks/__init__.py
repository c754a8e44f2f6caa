"""The fusion methods, one file each; importing this package registers them all."""

from fusion.networks.base import Convention, Network
from fusion.networks.learned.cddfuse import CDDFuse
from fusion.networks.learned.ship import SHIP
from fusion.networks.learned.swift import Swift
from fusion.networks.rule_based.average import Average
from fusion.networks.rule_based.cpfusion import CPFusion
from fusion.networks.rule_based.maximum import Maximum

__all__ = ["SHIP", "Average", "CDDFuse", "CPFusion", "Convention", "Maximum", "Network", "Swift"]
