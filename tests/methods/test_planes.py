import healpy as hp
import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.planes import face_index, from_faces, from_plane, plane_index, plane_shape, to_faces, to_plane


@pytest.mark.parametrize("nside", [1, 2, 32, 128])
def test_index_holds_every_pixel_once_and_cannot_be_changed(nside):
    index = plane_index(nside)
    assert index.shape == plane_shape(nside) == (4 * nside, 3 * nside)
    assert index.dtype == np.int64
    np.testing.assert_array_equal(np.sort(index.ravel()), np.arange(12 * nside**2))
    assert plane_index(nside) is index
    with pytest.raises(ValueError, match="read-only"):
        index[0, 0] = 0


def test_faces_stand_where_they_were_published():
    nside = 8
    _, _, faces = hp.pix2xyf(nside, plane_index(nside))
    blocks = faces.reshape(4, nside, 3, nside)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert blocks[:, 0, :, 0].tolist() == [[2, 6, 9], [3, 7, 10], [0, 4, 11], [1, 5, 8]]


def test_a_face_equals_its_nested_order_bit_by_bit():
    # In NESTED order the bits of x and y alternate; this needs none of healpy's (x, y, face).
    nside, face = 16, 7
    nested = hp.ring2nest(nside, plane_index(nside)[nside : 2 * nside, nside : 2 * nside]) - face * nside**2
    for (row, column), pixel in np.ndenumerate(nested):
        x, y = nside - 1 - column, nside - 1 - row
        bits = sum(((x >> k & 1) << 2 * k) + ((y >> k & 1) << 2 * k + 1) for k in range(4))
        assert pixel == bits


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.bool_])
@pytest.mark.parametrize("axes", [(), (1,), (2, 3)], ids=["map", "I", "simulations of IQU"])
def test_there_and_back(dtype, axes):
    nside = 16
    values = np.random.default_rng(1).integers(0, 2**15, (*axes, 12 * nside**2)).astype(dtype)
    plane = to_plane(values)
    assert plane.shape == (*axes, 64, 48)
    assert plane.dtype == dtype
    for at in np.ndindex(axes):
        np.testing.assert_array_equal(plane[at], values[at][plane_index(nside)])
    back = from_plane(plane)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(to_plane(from_plane(plane[..., ::-1, :])), plane[..., ::-1, :])


@pytest.mark.parametrize("axes", [(), (2, 3)])
def test_faces_are_cut_and_put_together_again(axes):
    nside = 8
    values = np.random.default_rng(1).standard_normal((*axes, 12 * nside**2)).astype(np.float32)
    faces = to_faces(values)
    assert faces.shape == (*axes, 12, nside, nside)
    assert faces.dtype == np.float32
    np.testing.assert_array_equal(from_faces(faces), values)
    # A face of the plane is a face.
    np.testing.assert_array_equal(to_plane(values)[..., :nside, nside : 2 * nside], faces[..., 6, :, :])


def test_the_corners_of_a_face_point_where_they_should():
    nside = 16
    latitude = 90 - np.degrees(hp.pix2ang(nside, face_index(nside))[0])
    assert (latitude.reshape(12, -1).argmax(axis=1) == 0).all()
    assert (latitude.reshape(12, -1).argmin(axis=1) == nside**2 - 1).all()


def test_neighbours_in_the_plane_are_neighbours_on_the_sphere_except_between_rows():
    nside = 32
    index = plane_index(nside)
    vectors = np.stack(hp.pix2vec(nside, index), axis=-1)
    pixel = hp.nside2resol(nside)
    along_rows = np.arccos(np.sum(vectors[:, 1:] * vectors[:, :-1], axis=-1))
    assert along_rows.max() < 2 * pixel
    down_columns = np.arccos(np.sum(vectors[1:] * vectors[:-1], axis=-1))
    borders = np.arange(1, 4) * nside - 1
    assert np.delete(down_columns, borders, axis=0).max() < 2 * pixel
    assert np.degrees(np.median(down_columns[borders], axis=1)).min() > 40


@pytest.mark.parametrize("shape", [(), (0,), (100,), (3, 12 * 9), (12, 3)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(MethodError, match=r"no HEALPix map"):
        to_plane(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (48,), (48, 64), (2, 64, 49), (0, 0), (12, 9)])
def test_what_is_no_plane_is_refused(shape):
    with pytest.raises(MethodError, match=r"no plane"):
        from_plane(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (12,), (11, 4, 4), (12, 4, 8), (12, 0, 0), (12, 3, 3)])
def test_what_is_no_set_of_faces_is_refused(shape):
    with pytest.raises(MethodError, match=r"no set of faces"):
        from_faces(np.zeros(shape))
