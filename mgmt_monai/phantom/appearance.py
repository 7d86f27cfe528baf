"""What each tissue looks like in each modality, and how the latent value changes the tumour's look."""

from dataclasses import dataclass

import numpy as np

from mgmt_monai.phantom.anatomy import GRID_MM, Tissue
from mgmt_monai.phantom.effect import squash
from mgmt_monai.phantom.fields import Volume, ramp

MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")


@dataclass(frozen=True)
class Contrast:
    """Brightness of each tissue in one modality, relative to the brightest usual tissue at about 1."""

    csf: float
    grey: float
    white: float
    oedema: float
    rim: float
    core: float


CONTRASTS = {
    "FLAIR": Contrast(csf=0.12, grey=0.56, white=0.44, oedema=0.92, rim=0.74, core=0.26),
    "T1w": Contrast(csf=0.14, grey=0.47, white=0.70, oedema=0.46, rim=0.58, core=0.20),
    "T1wCE": Contrast(csf=0.14, grey=0.46, white=0.63, oedema=0.44, rim=1.15, core=0.20),
    "T2w": Contrast(csf=1.00, grey=0.50, white=0.35, oedema=0.76, rim=0.44, core=1.08),
}


@dataclass(frozen=True)
class TumourLook:
    """The look that the latent value decides; every figure is strictly monotone in it.

    Args:
        core_share: Radius of the necrotic core over the tumour's radius. The rim takes the rest, so that
            a low latent value is a solid enhancing mass and a high one a thin ring around a large core.
        rim_gain: Factor on the rim's difference from white matter.
        mottle: Standard deviation of the texture inside the tumour, relative brightness.
    """

    core_share: float
    rim_gain: float
    mottle: float


def tumour_look(latent: float) -> TumourLook:
    """The tumour's look at a latent value: core share 0.15 to 0.90, rim gain 0.75 to 1.15, mottle 0.01 to 0.11."""
    share = squash(latent)
    return TumourLook(core_share=0.15 + 0.75 * share, rim_gain=1.15 - 0.40 * share, mottle=0.11 - 0.10 * share)


def paint(tissue: Tissue, modality: str, look: TumourLook, radius_mm: float) -> Volume:
    """The head's ideal image on its grid, before any scanner.

    Returns:
        Relative brightness, about 0 to 1.2, float32. Outside the brain it goes on as fluid; the scanner cuts it off at
        ``depth_mm`` 0.
    """
    tone = CONTRASTS[modality]
    image = tissue.white * np.float32(tone.white - tone.grey)
    image += np.float32(tone.grey)
    image += tissue.csf * (np.float32(tone.csf) - image)
    image += tissue.oedema * (np.float32(tone.oedema) - image)

    edge = GRID_MM / radius_mm
    reach = tissue.tumour_reach
    inside = ramp(1 - reach, 1.6 * edge)
    core = ramp(look.core_share * (1 + 0.10 * tissue.core_wobble) - reach, 2.0 * edge)
    rim_tone = tone.white + look.rim_gain * (tone.rim - tone.white)
    tumour = rim_tone + core * np.float32(tone.core - rim_tone)
    tumour += np.float32(look.mottle) * tissue.mottle
    # Necrosis is never even: debris settles in clouds.
    tumour += core * (np.float32(0.04) * tissue.core_wobble)
    part = image[tissue.tumour_box]
    part += inside * (tumour - part)
    return image
