"""Data sets of the examples, read with the csv module (see data/LICENSE.md for their sources)."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

EXAMPLES = Path(__file__).resolve().parent
DATA = EXAMPLES / "data"
IRIS_SPECIES = ("setosa", "versicolor", "virginica")
PENGUIN_SPECIES = ("Adelie", "Chinstrap", "Gentoo")


def _read(
    name: str, columns: list[str], species: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the complete rows, their species as 0, 1, 2, and the columns' names with units."""
    with open(DATA / name, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "NA" not in [row[c] for c in columns]]
    x = np.array([[float(row[column]) for column in columns] for row in rows])
    labels = np.array([species.index(row["species"]) for row in rows])
    words = [column.split("_") for column in columns]
    return x, labels, [f"{' '.join(name)} ({unit})" for *name, unit in words]


def iris() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return x (150, 4) in cm, species (150,) as indices into IRIS_SPECIES, and feature names."""
    columns = ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm"]
    return _read("iris.csv", columns, IRIS_SPECIES)


def penguins() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return x (342, 4) in mm and g, species (342,), and the features' names.

    Species are indices into PENGUIN_SPECIES. Two penguins without measurements are left out.
    """
    columns = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    return _read("penguins.csv", columns, PENGUIN_SPECIES)


def faithful() -> tuple[np.ndarray, list[str]]:
    """Return x (272, 2) in minutes and the features' names: eruptions of Old Faithful."""
    table = np.loadtxt(DATA / "faithful.csv", delimiter=",", skiprows=1)
    return table, ["eruption (min)", "waiting (min)"]


def mclust_bic(name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return mclust's BIC (9, 14) of a data set for K = 1 … 9 and each model, and the models.

    The names of data sets are "iris", "faithful" and "penguins". It is NaN where mclust gives none.
    """
    with open(DATA / "mclust_bic.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["data"] == name]
    models = tuple(rows[0])[2:]
    value = lambda text: np.nan if text == "NA" else float(text)
    return np.array([[value(row[model]) for model in models] for row in rows]), models


def penguin_islands() -> np.ndarray:
    """Return the island (342,) of each penguin of `penguins`."""
    with open(DATA / "penguins.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["body_mass_g"] != "NA"]
    return np.array([row["island"] for row in rows])


def penguins_with_gaps() -> tuple[np.ndarray, list[str]]:
    """Return x (344, 4) of all penguins, NaN where there is no measurement, and feature names."""
    table = np.genfromtxt(
        DATA / "penguins.csv", delimiter=",", skip_header=1, usecols=range(2, 6),
        missing_values="NA", encoding="utf-8",
    )  # fmt: skip
    return table, penguins()[2]


# Five of the thirteen measurements, in which the cultivars differ.
WINE_COLUMNS = ("alcohol", "malic_acid", "flavanoids", "color_intensity", "proline")

# Four of them, of the certified problem.
CERTIFIED_WINE_COLUMNS = ("alcohol", "flavanoids", "color_intensity", "proline")


def wine() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return x (178, 5), cultivar (178,) as 0, 1, 2, and the features' names."""
    x, labels = wine_columns(WINE_COLUMNS)
    return x, labels, [column.replace("_", " ") for column in WINE_COLUMNS]


def wine_columns(columns: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return these columns of the wines, and cultivar (178,) as 0, 1, 2."""
    with open(DATA / "wine.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    x = np.array([[float(row[column]) for column in columns] for row in rows])
    return x, np.array([int(row["cultivar"]) - 1 for row in rows])


def digit_images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return x (1797, 64), gray values of 8×8 images, and digit (1797,), from scikit-learn.

    Gray values are whole numbers from 0 to 16. A random number between 0 and 1 is added to each, so
    that they have a density, and no pixel is constant.
    """
    from sklearn.datasets import load_digits

    images = load_digits()
    noise = np.random.default_rng(seed).uniform(size=images.data.shape)
    return images.data + noise, images.target


def digits() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return x (1797, 8), principal components of 8×8 images, digit (1797,), and feature names."""
    table = np.loadtxt(DATA / "digits_pca.csv", delimiter=",", skiprows=1)
    return table[:, 1:], table[:, 0].astype(int), [f"component {i + 1}" for i in range(8)]


class Certified(NamedTuple):
    """A problem of `certified`, whose maximum is known to 30 digits.

    Attributes:
      x: (n, d) rows.
      start: the arrays weights (k,), means (k, d) and covariances (k, d, d).
      maximum: the same arrays of the maximum of the likelihood that EM reaches from the start, and
        log_likelihood, in float64.
      errors: the same arrays of the standard errors, by the observed information.
      mclust: the arrays of `maximum` according to mclust.
    """

    x: np.ndarray
    start: dict[str, np.ndarray]
    maximum: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    mclust: dict[str, np.ndarray]


def certified() -> dict[str, Certified]:
    """Return ten problems, of certified.json and certified_mclust.csv."""
    rows = {
        "faithful": faithful()[0],
        "iris": iris()[0],
        "penguins": penguins()[0],
        "wine": wine_columns(CERTIFIED_WINE_COLUMNS)[0],
    }
    arrays = lambda tree: {name: np.array(leaf, float) for name, leaf in tree.items()}
    answers: dict[str, dict[str, list[float]]] = {}
    if (DATA / "certified_mclust.csv").exists():
        with open(DATA / "certified_mclust.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                of_problem = answers.setdefault(row["problem"], {})
                of_problem.setdefault(row["quantity"], []).append(float(row["value"]))
    problems = {}
    for name, problem in json.loads((DATA / "certified.json").read_text("utf-8")).items():
        maximum = problem["maximum"]
        errors = arrays(maximum.pop("standard_errors"))
        maximum.pop("gradient")
        maximum = arrays(maximum)
        theirs = {
            key: np.reshape(values, maximum[key].shape)
            for key, values in answers.get(name, {}).items()
        }
        x = np.array(problem["rows"]) if "rows" in problem else rows[name]
        problems[name] = Certified(x, arrays(problem["start"]), maximum, errors, theirs)
    return problems
