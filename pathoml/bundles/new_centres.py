"""Patients of a hospital that a bundle of harmonised tiles has never seen: that hospital's location
and scale come from its own slides when they are scored.

The maps of the centres that the bundle was trained on are in it, by their names. A slides.csv may
have a column `centre`; without it, all patients of a study that is scored are taken for one new
centre. No outcome is needed, but the scores of a new centre depend on who else of it is scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pathoml.bags.harmonisation import bag_moments
from pathoml.training.model_stack import ModelStack
from pathoml.types import Bag, is_known_centre

# what the patients of a study without centres are of; not a name that a table would have
ONE_CENTRE = "(all slides that were scored together)"


def harmonise_new_centres(stack: ModelStack, bags: Sequence[Bag]) -> tuple[list[Bag], str]:
    """Teach the models the centres of these bags that they do not know; return the bags with the
    centre as which each is read, and a sentence on what was done, "" for models of tiles as they
    are.

    Args:
        bags: of everyone who is scored.
    """
    if not stack.harmonisations:
        return list(bags), ""
    given = [bag.centre or "" for bag in bags]
    centres = given if any(map(is_known_centre, given)) else [ONE_CENTRE] * len(bags)
    trained_on = stack.harmonisations[0].centres
    moments = bag_moments(bags, centres)
    stack.harmonisations = [one.with_centres(moments) for one in stack.harmonisations]
    read = [replace(bag, centre=centre) for bag, centre in zip(bags, centres)]
    return read, _said(Counter(centres), trained_on)


def _said(patients: Counter[str], trained_on: Sequence[str]) -> str:
    """Return what was done with the features of which centres.

    >>> _said(Counter({"Bern": 2, "Chur": 1, "": 1}), ["Bern"])[:71]
    'features harmonised: Bern (2) as the bundle knows it; Chur (1), new to '
    """
    if set(patients) == {ONE_CENTRE}:
        return (
            f"features harmonised: slides.csv names no centre, so all {patients.total()} patients"
            " are taken for one centre that the bundle does not know, harmonised by their own"
            " slides: a score depends on who else is scored. If they are of several hospitals, add"
            " a column 'centre'."
        )
    known = [f"{c} ({n})" for c, n in sorted(patients.items()) if c in trained_on]
    new = [
        f"{c} ({n})"
        for c, n in sorted(patients.items())
        if c not in trained_on and is_known_centre(c)
    ]
    left = sum(n for c, n in patients.items() if not is_known_centre(c))
    parts = [f"{', '.join(known)} as the bundle knows it"] if known else []
    if new:
        parts.append(
            f"{', '.join(new)}, new to the bundle, by the centre's own slides: a score depends on"
            " who else of the centre is scored"
        )
    if left:
        parts.append(f"{left} without a centre as they are")
    return f"features harmonised: {'; '.join(parts)}."
