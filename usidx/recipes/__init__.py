"""Recipes: steps with their parameters and sources, as a YAML file that people write and keep."""

from __future__ import annotations

from usidx.recipes.reading import parse_recipe, read_recipe
from usidx.recipes.recipe import MainAt, Recipe, RecipeStep, Use

__all__ = ["MainAt", "Recipe", "RecipeStep", "Use", "parse_recipe", "read_recipe"]
