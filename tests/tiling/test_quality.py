"""The contact sheet shows every slide, unusual ones first, and nothing that a file name could
inject.
"""

from __future__ import annotations

from pathoml.tiling.quality import contact_sheet, outliers
from pathoml.types import FLAGS


def row(slide_id: str, **changes: float) -> dict[str, str | float]:
    return {
        "slide_id": slide_id,
        "tissue_mm2": 100.0,
        "tiles": 500.0,
        "level0_mpp": 0.25,
        **dict.fromkeys(FLAGS, 0.0),
        **changes,
    }


def test_a_slide_with_hardly_any_tissue_or_another_scale_is_unusual():
    usual = [row(f"S{i}", tissue_mm2=90.0 + 4 * i, tiles=450.0 + 20 * i) for i in range(9)]
    assert outliers(
        [*usual, row("little", tissue_mm2=0.5, tiles=3.0), row("coarse", level0_mpp=0.5)]
    )[9:] == [
        ["tissue_mm2", "tiles"],
        ["level0_mpp"],
    ]


def test_scanners_of_several_hospitals_are_usual_and_one_slide_of_another_is_not():
    scales = [0.2525] * 5 + [0.2309] * 5 + [0.499] * 5 + [0.35]
    found = outliers([row(f"S{i}", level0_mpp=scale) for i, scale in enumerate(scales)])
    assert found == [[]] * 15 + [["level0_mpp"]]


def test_a_slide_of_another_stain_is_unusual():
    def stained(slide_id, haematoxylin, eosin):
        channels = dict(zip("rgb", haematoxylin)), dict(zip("rgb", eosin))
        columns = {
            f"{name}_{c}": f"{v:.3f}"
            for name, one in zip(("haematoxylin", "eosin"), channels)
            for c, v in one.items()
        }
        return row(slide_id) | columns

    usual = [
        stained(f"S{i}", (0.65 + 0.004 * i, 0.70, 0.29), (0.07, 0.99 - 0.004 * i, 0.11))
        for i in range(9)
    ]
    brown = stained(
        "DAB", (0.65, 0.70, 0.29), (0.27, 0.57, 0.78)
    )  # diaminobenzidine instead of eosin
    unknown = row("pale") | dict.fromkeys(
        [f"{name}_{c}" for name in ("haematoxylin", "eosin") for c in "rgb"], ""
    )
    assert outliers([*usual, brown, unknown]) == [[]] * 9 + [["eosin"], []]


def test_a_few_slides_say_nothing_of_what_is_usual():
    assert outliers([row("a"), row("b", tiles=1.0)]) == [[], []]


def test_unusual_slides_come_first_and_failures_are_said():
    page = contact_sheet(
        [{**row("a"), "outlier_in": ""}, {**row("z"), "outlier_in": "tiles"}], {"bad": "torn"}
    )
    assert page.index("z.png") < page.index("a.png")
    assert "bad: torn" in page


def test_names_and_reasons_are_escaped():
    page = contact_sheet([{**row("a<b> (1)"), "outlier_in": ""}], {"x": "<script>"})
    assert "<b> (1)" not in page
    assert "<script>" not in page
    assert 'src="a%3Cb%3E%20%281%29.png"' in page
