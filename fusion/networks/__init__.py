"""The fusion methods, one file each; importing this package registers them all."""

from fusion.networks.base import Convention, Network
from fusion.networks.learned.cddfuse import CDDFuse
from fusion.networks.learned.ship import SHIP
from fusion.networks.learned.swift import Swift
from fusion.networks.rule_based.adf import ADF
from fusion.networks.rule_based.average import Average
from fusion.networks.rule_based.cpfusion import CPFusion
from fusion.networks.rule_based.dtcwt import DTCWT
from fusion.networks.rule_based.dwt import DWT
from fusion.networks.rule_based.fpde import FPDE
from fusion.networks.rule_based.gff import GFF
from fusion.networks.rule_based.gtf import GTF
from fusion.networks.rule_based.hmsd_gf import HMSDGF
from fusion.networks.rule_based.lp import LP
from fusion.networks.rule_based.maximum import Maximum
from fusion.networks.rule_based.mgff import MGFF
from fusion.networks.rule_based.rp import RP
from fusion.networks.rule_based.tif import TIF
from fusion.networks.rule_based.vsmwls import VSMWLS

__all__ = [
    "ADF",
    "DTCWT",
    "DWT",
    "FPDE",
    "GFF",
    "GTF",
    "HMSDGF",
    "LP",
    "MGFF",
    "RP",
    "SHIP",
    "TIF",
    "VSMWLS",
    "Average",
    "CDDFuse",
    "CPFusion",
    "Convention",
    "Maximum",
    "Network",
    "Swift",
]
