"""How many components, and of which family? Every K from many starts, in three families, with
held-out likelihood beside the information criteria.

    .venv/bin/python examples/how_many_components.py

Prints a table; writes `how_many_components.png` beside this file where matplotlib is installed. How
far it has come is shown by a bar where tqdm is installed, else by lines.
"""

# %%
import importlib.util
from pathlib import Path

import jax
import load
import numpy as np

import jaxgmm

FIGURE = Path(__file__).resolve().with_name("how_many_components.png")
FAMILIES = ("full", "tied", "diagonal")


# %%
def main() -> None:
    x, _, _ = load.penguins()
    with jaxgmm.progress() as report:
        found = jaxgmm.sweep(
            jax.random.key(0), x.astype(np.float32), range(1, 7), restarts=12, families=FAMILIES,
            folds=3, callback=report,
        )  # fmt: skip
    print("Penguins: K = 1 … 6, three families, 12 starts each, three folds.\n")
    columns = ("family", "K", "log-likelihood", "BIC", "ICL", "held-out", "at best", "spurious")
    print(jaxgmm.Table({name: row[name] for name in columns} for row in found.table()))
    print()
    for criterion in ("aic", "bic", "icl", "held-out"):
        best = found.best(criterion).mixture
        print(f"  by {criterion:9} {best.family}, K = {best.n_components}")
    if importlib.util.find_spec("matplotlib"):
        found.plot().figure.savefig(FIGURE, dpi=120)
        print(f"\nFigure: {FIGURE.parent.name}/{FIGURE.name}")
    else:
        print("\nNo figure: matplotlib is not installed.")


if __name__ == "__main__":
    main()
