import healpy as hp
import numpy as np
import pytest
import torch

from cmbml.methods.base import MethodError
from cmbml.methods.faces import FacePadding
from cmbml.methods.planes import face_index, to_faces

# Where healpy's eight neighbours stand beside a pixel, (row, column): x grows to the left and y upwards.
NEIGHBOURS = {
    **{"SW": (0, 1), "W": (-1, 1), "NW": (-1, 0), "N": (-1, -1)},
    **{"NE": (0, -1), "E": (1, -1), "SE": (1, 0), "S": (1, 1)},
}


def padded_pixels(nside, width):
    """Return the pixel number at each place of the framed faces, as float64; a mean of two where there is no pixel."""
    faces = torch.from_numpy(face_index(nside).astype(np.float64))
    return FacePadding(nside, width)(faces[None, None])[0, 0].numpy()


def corner_blocks(nside, width):
    """Return a mask, true at the corners of frames where only three faces meet."""
    near, far = slice(None, width), slice(nside + width, None)
    blocks = np.zeros((12, nside + 2 * width, nside + 2 * width), bool)
    for face in range(12):
        # North and south corners of equatorial faces; east and west ones of the others.
        rows_columns = [(near, near), (far, far)] if 4 <= face < 8 else [(near, far), (far, near)]
        for block in rows_columns:
            blocks[(face, *block)] = True
    return blocks


@pytest.mark.parametrize("nside", [1, 2, 8, 32])
def test_a_frame_of_one_pixel_holds_the_true_neighbours(nside):
    padded = padded_pixels(nside, 1)
    inside = face_index(nside)
    np.testing.assert_array_equal(padded[:, 1:-1, 1:-1], inside)
    found = hp.get_all_neighbours(nside, inside.ravel()).reshape(8, *inside.shape)
    n_missing = 0
    for neighbours, (row, column) in zip(found, NEIGHBOURS.values(), strict=True):
        beside = padded[:, 1 + row : 1 + row + nside, 1 + column : 1 + column + nside]
        there = neighbours >= 0
        np.testing.assert_array_equal(beside[there], neighbours[there])
        n_missing += np.count_nonzero(~there)
    assert n_missing == 24  # three faces at each of eight points


@pytest.mark.parametrize("nside", [4, 16])
def test_where_three_faces_meet_the_corner_is_the_mean_of_the_pixels_beside_it(nside):
    padded = padded_pixels(nside, 1)
    blocks = corner_blocks(nside, 1)
    found = []
    for face, row, column in np.argwhere(blocks):
        beside_row, beside_column = (1 if k == 0 else k - 1 for k in (row, column))
        found.append((padded[face, beside_row, column] + padded[face, row, beside_column]) / 2)
    assert len(found) == 24
    np.testing.assert_array_equal(padded[blocks], found)


@pytest.mark.parametrize(("nside", "width"), [(8, 3), (16, 16), (4, 4)])
def test_a_wider_frame_goes_straight_on(nside, width):
    # Elements side by side share an edge on the sphere, and none comes twice: that is a sheet without fold or shear.
    padded, blocks = padded_pixels(nside, width), corner_blocks(nside, width)
    pixels = np.where(blocks, -2, padded).astype(np.int64)
    edges = hp.get_all_neighbours(nside, np.arange(12 * nside**2))[::2]
    for axis in (1, 2):
        one = pixels.take(range(pixels.shape[axis] - 1), axis)
        next_one = pixels.take(range(1, pixels.shape[axis]), axis)
        there = (one >= 0) & (next_one >= 0)
        assert (edges[:, one[there]] == next_one[there]).any(axis=0).all()
    for face, block in zip(pixels, blocks, strict=True):
        assert len(np.unique(face[~block])) == np.count_nonzero(~block)


def test_the_frame_is_as_far_away_as_pixels_inside_a_face_are():
    # Pixels k apart in a row inside faces lie 0.80 k to 1.44 k mean pixel sides apart; so must those across an edge.
    nside, width = 64, 6
    pixels = padded_pixels(nside, width)[:, :, width:-width].astype(np.int64)
    vectors = np.stack(hp.pix2vec(nside, pixels), axis=-1)
    inside = vectors[:, width:-width]
    for depth in range(1, width + 1):
        usual = angle(inside[:, depth:], inside[:, :-depth])
        across_top = angle(vectors[:, width], vectors[:, width - depth])
        across_bottom = angle(vectors[:, -width - 1], vectors[:, -width - 1 + depth])
        for across in (across_top, across_bottom):
            assert usual.min() < across.min() < across.max() < usual.max()
        assert 0.8 * depth * hp.nside2resol(nside) < usual.min()


def angle(one, other):
    return np.arccos(np.sum(one * other, axis=-1))


def test_a_smooth_function_stays_smooth_across_every_border_and_corner():
    nside, width = 64, 4
    vectors = np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)))
    smooth = torch.from_numpy(to_faces(vectors))[None]
    padded = FacePadding(nside, width)(smooth)[0]
    steps = torch.linalg.vector_norm(padded.diff(dim=-1), dim=0), torch.linalg.vector_norm(padded.diff(dim=-2), dim=0)
    assert max(step.max().item() for step in steps) < 3 * hp.nside2resol(nside)


def test_gradient_is_the_transpose():
    generator = torch.Generator().manual_seed(1)
    padding = FacePadding(2, 2)
    faces = torch.randn(1, 2, 12, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(padding, (faces,))
    matrix = torch.autograd.functional.jacobian(lambda values: padding(values)[0, 0], faces)[..., 0, 0, :, :, :]
    # Every element of the frame is a mean.
    torch.testing.assert_close(matrix.flatten(3).sum(-1), torch.ones(12, 6, 6, dtype=torch.float64))


def test_batches_channels_and_types_are_kept_and_nothing_is_saved():
    padding = FacePadding(4, 1)
    faces = torch.randn(2, 3, 12, 4, 4, dtype=torch.float32)
    padded = padding(faces)
    assert padded.shape == (2, 3, 12, 6, 6)
    assert padded.dtype == torch.float32
    torch.testing.assert_close(padded[1, 2], padding(faces[1:, 2:])[0, 0], rtol=0, atol=0)
    assert not padding.state_dict()


def test_what_does_not_fit_is_refused():
    with pytest.raises(MethodError, match=r"5 pixels .* nside 4; 1 to 4 can"):
        FacePadding(4, 5)
    with pytest.raises(MethodError, match=r"frame of 0"):
        FacePadding(4, 0)
    with pytest.raises(MethodError, match=r"\(batch, channel, 12, 4, 4\), not \(1, 1, 12, 8, 8\)"):
        FacePadding(4, 1)(torch.zeros(1, 1, 12, 8, 8))
