import numpy as np
from scipy.interpolate import BSpline

from mgmt_monai.phantom.fields import ramp, smooth_field


def test_smooth_field_is_the_cubic_b_spline_of_its_coefficients():
    length, step = 40, 3.7
    field = smooth_field(np.random.default_rng(0), (length,), (step,))
    coefficients = np.random.default_rng(0).standard_normal(int((length - 1) / step) + 4, dtype=np.float32)
    # Uniform knots, so placed that the first four basis functions cover [0, 1).
    spline = BSpline(np.arange(-3, len(coefficients) + 1), coefficients, 3)(np.arange(length) / step)
    np.testing.assert_allclose(field, (spline - spline.mean()) / spline.std(), atol=1e-4)


def test_smooth_field_has_zero_mean_and_unit_deviation_in_three_axes():
    field = smooth_field(np.random.default_rng(1), (20, 31, 17), (4, 5.5, 3), band_pass=True)
    assert field.shape == (20, 31, 17)
    assert field.dtype == np.float32
    np.testing.assert_allclose([field.mean(), field.std()], [0, 1], atol=1e-4)


def test_ramp_is_the_share_of_a_voxel_inside_an_edge():
    distance = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 9.0], dtype=np.float32)
    np.testing.assert_allclose(ramp(distance, 2.0), [0, 0, 0.5, 0.75, 1, 1])
