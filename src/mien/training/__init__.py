"""Training: a recipe and samples in, a run folder out (checkpoints, curves, log); a run in, an ONNX file out."""

from mien import models as _models  # says what to install if torch is missing
from mien.training.expression.export import export_run
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.fit import FitOptions, fit
from mien.training.hardware import Hardware, first_process
from mien.training.loop import Callback
from mien.training.quantize import quantize
from mien.training.recipe import RunRecipe, recipe_names
from mien.training.recipe import load as load_recipe
from mien.training.tasks import task_spec
from mien.training.weights import average_runs, resolve_recipe

__all__ = [
    "Callback",
    "ExpressionRecipe",
    "FitOptions",
    "Hardware",
    "RunRecipe",
    "average_runs",
    "export_run",
    "first_process",
    "fit",
    "load_recipe",
    "quantize",
    "recipe_names",
    "resolve_recipe",
    "task_spec",
]

del _models
