"""How far a series lies from the training data of a fusion, modality by modality."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.fusion import STEP, FusionClassifier, OneModality
from mgmt_monai.slices.patients import PatientDataset
from mgmt_monai.training.reference import Reference
from mgmt_monai.training.stage import StageProgress, load_network


@dataclass(eq=False)
class PatientReference:
    """A `Reference` of each modality.

    Args:
        network: Takes the best checkpoint.
        training: The training patients; of the ``reference_slices`` each modality has its own.
        validation: The validation patients.
        reference_slices: As of `Reference`.
        quantile: As of `Reference`.
    """

    network: FusionClassifier
    training: PatientDataset
    validation: PatientDataset
    reference_slices: int
    quantile: float

    def run(self, stage: StageProgress) -> list[Path]:
        """Write ``reference-<modality>.safetensors`` of each modality whose features allow a distance."""
        load_network(self.network, stage.best_checkpoint)
        self.network.eval()
        written = []
        for number, modality in enumerate(self.training.modalities):
            if not len(self.training.parts[number][0]):  # nothing is known of it
                continue
            reference = Reference(
                cast(MGMTClassifier, OneModality(self.network, number)),
                self.training.parts[number][0],
                self.validation.parts[number][0],
                STEP,
                self.reference_slices,
                self.quantile,
                f"reference-{modality}.safetensors",
            )
            written.append(reference.write(stage.run_directory.path))
        return [path for path in written if path is not None]
