"""A MONAI Deploy application: a DICOM study in, a structured report out, through an exported bundle."""

from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Operator

from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.predict_study import predict_study
from mgmt_monai.pacs.delivery import write_results


class Predict(Operator):
    """Predicts the study in the application's input folder, once."""

    def __init__(self, fragment, paths):
        self.paths = paths
        super().__init__(fragment, CountCondition(fragment, 1), name="predict")

    def compute(self, op_input, op_output, context):
        """Write report.dcm to the application's output folder."""
        with open_models([Path(self.paths.model_path)]) as models:
            predicted = predict_study(Path(self.paths.input_path), models)
            write_results(predicted, models, Path(self.paths.output_path))


class App(Application):
    """One operator."""

    def compose(self):
        """Take the paths from the command line, or from the container's environment."""
        self.add_operator(Predict(self, Application.init_app_context(self.argv)))


if __name__ == "__main__":
    App().run()
