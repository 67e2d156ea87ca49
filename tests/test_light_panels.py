"""Pictures of light: signs, scale, sizes."""

import numpy as np

from nightlab.light_panels import light_limit, light_panels, scale_bar, signed_map


def test_signs_have_their_colours():
    image = np.full((4, 6, 3), 100, np.uint8)
    adapted = image.copy()
    adapted[:, :2] += 51  # a fifth of white
    adapted[:, 4:] -= 51
    limit = light_limit(image, adapted)
    assert abs(limit - 0.2) < 1e-6
    red, white, blue = signed_map(image, adapted, limit)[0, [0, 3, 5]].astype(int)
    assert red[0] > red[2] + 60 and blue[2] > blue[0] + 60 and white.min() > 240


def test_panels_stand_side_by_side_over_the_scale():
    image = np.zeros((40, 500, 3), np.uint8)
    panels = light_panels(image, image + 10)
    assert panels.dtype == np.uint8 and panels.shape[1] > 3 * 500
    assert light_panels(image[:, :80], image[:, :80] + 10).dtype == np.uint8, "enlarged"
    assert panels.shape[0] > 40 + scale_bar(0.1, panels.shape[1]).shape[0]


def test_nothing_added_has_a_scale_too():
    image = np.zeros((8, 8, 3), np.uint8)
    assert light_limit(image, image) == 0.01
