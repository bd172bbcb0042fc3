"""Domains and networks that a law knows."""

from lightning_app.analysis.law import ScalingLaw
from lightning_app.analysis.points import ANY, ANY_BACKBONE
from lightning_app.mistakes import mistake


def check_domain(law: ScalingLaw, domain: str | None) -> None:
    """Refuse a domain that is none of the law's, or none where there is a choice; where it is no factor any will do.

    Raises:
        InputError: Names the domains that there are.
    """
    if domain is None and len(law.domains) > 1:
        raise mistake(f"the law differs by domain: choose one of {', '.join(law.domains)}")
    if domain is not None and domain not in law.domains and law.domains != (ANY,):
        raise mistake(f"domain {domain!r} is not in the fit: choose {' or '.join(law.domains)}")


def check_backbone(law: ScalingLaw, backbone: str | None) -> None:
    """Refuse a network that is none of the law's; None is any of them, and where it is no factor any will do.

    Raises:
        InputError: Names the networks that there are.
    """
    if backbone is not None and backbone not in law.backbones and law.backbones != (ANY_BACKBONE,):
        raise mistake(f"backbone {backbone!r} is not in the fit: choose {' or '.join(law.backbones)}")
