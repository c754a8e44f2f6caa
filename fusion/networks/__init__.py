"""The fusion methods, one file each; importing this package registers them all."""

from fusion.networks.base import Convention, Network
from fusion.networks.learned.cddfuse import CDDFuse
from fusion.networks.learned.densefuse import DenseFuse
from fusion.networks.learned.didfuse import DIDFuse
from fusion.networks.learned.ifcnn import IFCNN
from fusion.networks.learned.lrrnet import LRRNet
from fusion.networks.learned.mmdrfuse import MMDRFuse
from fusion.networks.learned.reconet import ReCoNet
from fusion.networks.learned.refusion import ReFusion
from fusion.networks.learned.sage import SAGE
from fusion.networks.learned.sdnet import SDNet
from fusion.networks.learned.seafusion import SeAFusion
from fusion.networks.learned.sfdfusion import SFDFusion
from fusion.networks.learned.ship import SHIP
from fusion.networks.learned.swift import Swift
from fusion.networks.learned.tardal import TarDAL
from fusion.networks.learned.u2fusion import U2Fusion
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
    "IFCNN",
    "LP",
    "MGFF",
    "RP",
    "SAGE",
    "SHIP",
    "TIF",
    "VSMWLS",
    "Average",
    "CDDFuse",
    "CPFusion",
    "Convention",
    "DIDFuse",
    "DenseFuse",
    "LRRNet",
    "MMDRFuse",
    "Maximum",
    "Network",
    "ReCoNet",
    "ReFusion",
    "SDNet",
    "SFDFusion",
    "SeAFusion",
    "Swift",
    "TarDAL",
    "U2Fusion",
]
