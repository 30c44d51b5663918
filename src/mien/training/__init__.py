"""Teaching: a recipe and samples in, a run folder out (checkpoints, curves, log); a run in, an ONNX file out."""

from mien import models as _models  # says what to install where torch is missing
from mien.training.averages import average_runs
from mien.training.expression.export import export_run
from mien.training.hardware import Hardware, first_process
from mien.training.loop import fit
from mien.training.quantize import quantize
from mien.training.recipe import Recipe, recipe_names
from mien.training.recipe import load as load_recipe
from mien.training.tasks import kind
from mien.training.weights import planned

__all__ = [
    "Hardware",
    "Recipe",
    "average_runs",
    "export_run",
    "first_process",
    "fit",
    "kind",
    "load_recipe",
    "planned",
    "quantize",
    "recipe_names",
]

del _models
