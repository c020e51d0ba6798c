"""Pytrees of different classes have different structures."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm
from jaxgmm.internal.pytrees import pytree


def one_of_many(number):
    """A class that differs from its siblings in what a method returns alone."""

    @pytree
    @dataclasses.dataclass(frozen=True)
    class Sibling:
        first: jax.Array
        second: jax.Array
        label: str = dataclasses.field(default="", metadata={"static": True})

        def value(self):
            return self.first + self.second + number

    return Sibling


def test_a_program_runs_with_the_methods_of_its_class():
    """With `jax.tree_util.register_dataclass` JAX 0.10 fails for some of these classes."""
    value = jax.jit(lambda tree: tree.value())
    found = [int(value(one_of_many(number)(np.int32(1), np.int32(2)))) for number in range(100)]
    np.testing.assert_array_equal(found, np.arange(100) + 3)


def test_structures_of_families_differ():
    kinds = [*jaxgmm.FAMILIES.values()]
    kinds += [make(2) for make in (jaxgmm.factors, jaxgmm.ppca)]
    kinds += [make(2, tied_noise=True) for make in (jaxgmm.factors, jaxgmm.ppca)]
    structures = [jax.tree.structure(kind.identity(1, 1, jnp.float32)) for kind in set(kinds)]
    assert len(structures) > 14
    for one, other in itertools.combinations(structures, 2):
        assert one != other


def test_fields():
    """Leaves have the names of the fields, and static fields belong to the structure."""
    kind = one_of_many(0)
    tree = kind(first=1, second=2, label="a")
    paths, structure = jax.tree.flatten_with_path(tree)
    assert [(jax.tree_util.keystr(path), leaf) for path, leaf in paths] == [
        (".first", 1),
        (".second", 2),
    ]
    assert jax.tree.unflatten(structure, [3, 4]) == kind(3, 4, "a")
    assert structure != jax.tree.structure(kind(1, 2, "b"))
