"""States and nationalities as travel documents write them (ICAO Doc 9303 part 3, section 5)."""

from __future__ import annotations

_ISO_3166_1 = """
ABW AFG AGO AIA ALA ALB AND ARE ARG ARM ASM ATA ATF ATG AUS AUT AZE BDI BEL BEN BES BFA BGD
BGR BHR BHS BIH BLM BLR BLZ BMU BOL BRA BRB BRN BTN BVT BWA CAF CAN CCK CHE CHL CHN CIV CMR
COD COG COK COL COM CPV CRI CUB CUW CXR CYM CYP CZE DEU DJI DMA DNK DOM DZA ECU EGY ERI ESH
ESP EST ETH FIN FJI FLK FRA FRO FSM GAB GBR GEO GGY GHA GIB GIN GLP GMB GNB GNQ GRC GRD GRL
GTM GUF GUM GUY HKG HMD HND HRV HTI HUN IDN IMN IND IOT IRL IRN IRQ ISL ISR ITA JAM JEY JOR
JPN KAZ KEN KGZ KHM KIR KNA KOR KWT LAO LBN LBR LBY LCA LIE LKA LSO LTU LUX LVA MAC MAF MAR
MCO MDA MDG MDV MEX MHL MKD MLI MLT MMR MNE MNG MNP MOZ MRT MSR MTQ MUS MWI MYS MYT NAM NCL
NER NFK NGA NIC NIU NLD NOR NPL NRU NZL OMN PAK PAN PCN PER PHL PLW PNG POL PRI PRK PRT PRY
PSE PYF QAT REU ROU RUS RWA SAU SDN SEN SGP SGS SHN SJM SLB SLE SLV SMR SOM SPM SRB SSD STP
SUR SVK SVN SWE SWZ SXM SYC SYR TCA TCD TGO THA TJK TKL TKM TLS TON TTO TUN TUR TUV TWN TZA
UGA UKR UMI URY USA UZB VAT VCT VEN VGB VIR VNM VUT WLF WSM YEM ZAF ZMB ZWE
"""

_ICAO = """
D EUE GBD GBN GBO GBP GBS RKS UNA UNK UNO UTO XAA XBA XCC XCE XCO XDC XEC XES XIM XMP XOM XPO
XXA XXB XXC XXX
"""
"""Codes that ICAO adds to ISO 3166-1: Germany's D, organisations, British statuses, stateless
persons and refugees (XXA, XXB, XXC), unspecified (XXX), and the specimen state (UTO)."""

CODES = frozenset(_ISO_3166_1.split()) | frozenset(_ICAO.split())
"""Every code that a nationality or an issuing state may have."""

UNSPECIFIED = "XXX"
"""The explicit "unknown" of a nationality."""

SPECIMEN_STATE = "UTO"
"""ICAO's Utopia: a document that it issued belongs to a test identity, never to a person."""

_SAME = {"DEU": "D"}


def canonical(code: str) -> str:
    """Return the one code that stands for a state: Germany's ISO code becomes ICAO's ``D``."""
    return _SAME.get(code, code)
